"""The control plane comes and goes: Envoy forwards on, and is sent what it lacks, nothing else."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import Rig, target

from xds_server.testing import Backend

pytestmark = pytest.mark.envoy
TYPES = ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend("a") as backend:
        yield backend


@pytest.fixture
def rig(tmp_path: Path, backend: Backend) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        rig.upstream("kept", target(backend))
        rig.serves("kept", backend)
        rig.routes("kept")
        yield rig


def test_envoy_forwards_without_the_control_plane_and_is_sent_nothing_again(rig: Rig, backend: Backend) -> None:
    with rig.load("kept") as load:
        load.wait_for(20)
        rig.server.kill()
        load.wait_for(100)
        modified = rig.envoy.stat("cluster_manager.cluster_modified")
        rig.server.restart()
        rig.server.wait_for_event("xds.opened")
        # Endpoints are always sent on a new stream: once they are acknowledged, clusters had their turn.
        rig.server.wait_until(
            lambda: "ClusterLoadAssignment" in {event["type"] for event in rig.server.events("xds.acknowledged")},
            10,
            "the endpoints' acknowledgement",
        )
        load.wait_for(40)
    assert load.failures == 0, load.errors
    assert [event["resources"] for kind in ("Cluster", "Listener") for event in rig.sent(kind)] == []
    assert rig.envoy.stat("cluster_manager.cluster_modified") == modified
    assert rig.envoy.stat("control_plane.connected_state") == 1
    # All the same it is known that it has them.
    (node,) = httpx.get(f"http://{rig.server.http_address}/v1/nodes").json()["nodes"]
    assert {name: state["status"] for name, state in node["types"].items()} == dict.fromkeys(TYPES, "SYNCED")


def test_a_control_plane_that_returns_with_changes_delivers_them_at_once(
    rig: Rig, backend: Backend, record_property: Callable[[str, object], None]
) -> None:
    with Backend("b") as other:
        rig.server.kill()
        rig.upstream("kept", target(backend), target(other))
        rig.upstream("new", target(other))
        rig.server.restart()
        rig.serves("kept", backend, other)
        rig.serves("new", other)
        rig.routes("new")
        assert rig.send("new", 10) == {"b": 10}
        # Envoy acknowledges what it has applied: both clusters' endpoints, in one answer or two.
        answers: list[dict[str, Any]] = []

        def all_applied() -> bool:
            found = rig.server.events("xds.acknowledged")
            answers[:] = [event for event in found if event["type"] == "ClusterLoadAssignment"]
            return sum(event["resources"] for event in answers) >= 2

        rig.server.wait_until(all_applied, 10, "the endpoints' acknowledgement")
        took = _time(answers[-1]) - _time(rig.server.events("xds.opened")[0])
        text = f"changes made while the control plane was down, from reconnect to applied: {1000 * took:.0f} ms"
        record_property("measured", text)
        assert [event["resources"] for event in rig.sent("Cluster")] == [1], "only the new cluster is sent"


def test_a_broken_file_changes_nothing_and_says_why(rig: Rig, backend: Backend) -> None:
    sent = len(rig.server.events("xds.sent"))
    (rig.directory / "kept.yaml").write_text(FIVE_MISTAKES)
    rig.server.wait_for_event("definitions.broken", count=5)
    problems = {(event["line"], event["field"]) for event in rig.server.events("definitions.broken")}
    assert problems == {(line, field) for line, field, _ in EXPECTED}
    assert rig.send("kept", 20) == {"a": 20}
    # Another file is served on; then the broken one is mended.
    rig.upstream("other", target(backend))
    rig.routes("other")
    assert len(rig.server.events("xds.sent")) > sent
    assert rig.send("kept", 20) == {"a": 20}
    rig.upstream("kept", target(backend), hostnames=["mended.example"])
    rig.routes("mended.example")
    assert len(rig.server.events("definitions.broken")) == 5, "each mistake is reported once"


def test_a_definition_that_envoy_would_refuse_keeps_its_last_good_state(rig: Rig, backend: Backend) -> None:
    rig.upstream("kept", target(backend), envoy={"connect_timeout": "0s"})
    refused = rig.server.wait_for_event("definition.refused")
    assert "connect_timeout" in refused["problem"]
    assert refused["at"].endswith("kept.yaml:1")
    rig.upstream("other", target(backend))
    rig.routes("other")
    assert rig.send("kept", 20) == {"a": 20}
    assert rig.envoy.stat("cluster_manager.cds.update_rejected") == 0


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


FIVE_MISTAKES = """\
upstreams:
  - name: kept
    algorithm: round-robbin
    targets:
      - {host: 127.0.0.1, port: 70000}
      - host: 127.0.0.1
        port: 8080
        wieght: 3
    timeout: 5
  - name: two words
"""
EXPECTED = [
    (3, "upstreams[0].algorithm", "round-robin"),
    (5, "upstreams[0].targets[0].port", "65535"),
    (8, "upstreams[0].targets[1].wieght", "weight"),
    (9, "upstreams[0].timeout", "5s"),
    (10, "upstreams[1].name", "a-z"),
]
