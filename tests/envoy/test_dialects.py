"""Envoys without an aggregated stream: everything that refers to more of it leads to where it came from itself."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden
import pytest
import yaml
from rig import Listener, Rig, target

from xds_server.bootstrap import Bootstrap, render
from xds_server.testing import Backends, EnvoyProcess, find_envoy
from xds_server.upstreams import translate
from xds_server.upstreams.translate import Dialect
from xds_server.upstreams.translate.render import to_dict

pytestmark = pytest.mark.envoy

CASES = ("minimal", "hostnames", "active-per-target", "resolved-by-envoy", "envoy-override", "gateways")


def state_of_the_world(bootstrap: dict[str, Any]) -> None:
    """The variant that `Bootstrap` does not write: what an operator with a bootstrap of his own may have."""
    for source in bootstrap["dynamic_resources"].values():
        source["api_config_source"]["api_type"] = "GRPC"


EDITS: dict[str, Callable[[dict[str, Any]], None] | None] = {"DELTA_GRPC": None, "GRPC": state_of_the_world}
"""By the name that Envoy has for the variant."""


@pytest.fixture(scope="module", params=EDITS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["ours", "static"])
def listener(request: pytest.FixtureRequest) -> Listener:
    found: Listener = request.param
    return found


@pytest.fixture(scope="module")
def rig(api: str, listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("rig")
    with Rig(directory, protocol="per-type", listener=listener, edit=EDITS[api]) as rig:
        yield rig
        rejected = rig.server.events("xds.rejected")
        assert rejected == []


@pytest.fixture
def backends() -> Iterator[Any]:
    with Backends("a", "b", "c") as servers:
        yield servers


def test_everything_comes_the_way_that_clusters_come(rig: Rig, api: str, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("one", target(a))
    rig.upstream("other", target(b))
    rig.forwards("one")
    rig.forwards("other")
    assert rig.send("one", 10) == {"a": 10}
    assert rig.send("other", 10) == {"b": 10}
    assert eds_source(rig.envoy, "one")["api_config_source"]["api_type"] == api
    # One for clusters, one each for listeners and routes, and one for each cluster's endpoints: see the known limits.
    fixed = {"static": 1, "ours": 3}[rig.listener]
    rig.envoy.wait_until(
        lambda: (
            rig.envoy.stat("cluster.xds-server.internal.upstream_rq_active") == fixed + len(rig.envoy.clusters()) - 1
        ),
        10,
        "as many streams as there are clusters",
    )
    assert rig.envoy.stat("cluster.one.init_fetch_timeout") == 0
    rig.remove("one")
    rig.remove("other")


def test_changing_a_weight(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("weight", target(a), target(b), algorithm="weighted-round-robin")
    rig.serves("weight", a, b)
    rig.forwards("weight")
    with rig.load("weight") as load:
        load.wait_for(40)
        rig.upstream("weight", target(a, weight=9), target(b), algorithm="weighted-round-robin")
        rig.envoy.wait_until(lambda: weights(rig, "weight") == {a.address: 9, b.address: 1}, 10, "the new weight")
        load.wait_for(20)
        load.reset()
        load.wait_for(100)
    assert load.failures == 0, load.errors
    assert abs(load.backends["a"] / load.total - 0.9) < 0.04


def test_adding_and_disabling_a_target(rig: Rig, backends: Any) -> None:
    a, b, c = backends
    rig.upstream("targets", target(a), target(b))
    rig.serves("targets", a, b)
    rig.forwards("targets")
    with rig.load("targets") as load:
        rig.upstream("targets", target(a), target(b), target(c))
        rig.serves("targets", a, b, c)
        load.wait_for(60)
        assert c.count > 0
        rig.upstream("targets", target(a, state="disabled"), target(b), target(c))
        rig.serves("targets", b, c)
        load.wait_for(20)
        a.reset()
        load.wait_for(60)
    assert load.failures == 0, load.errors
    assert a.count == 0


def test_draining_a_target_lets_its_request_finish(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("drain", target(a))
    rig.serves("drain", a)
    rig.forwards("drain")
    answers = []
    slow = threading.Thread(target=lambda: answers.append(rig.ask("drain", "/stream?chunks=10&every=0.1")))
    slow.start()
    rig.envoy.wait_until(lambda: a.active == 1, 5, "the slow request to arrive")
    with rig.load("drain") as load:
        rig.upstream("drain", target(a, state="draining"), target(b))
        rig.serves("drain", a, b, a="DRAINING")
        load.wait_for(20)
        a.reset()
        load.wait_for(60)
    slow.join()
    assert load.failures == 0, load.errors
    assert a.count == 0, "a draining target gets nothing new"
    assert [(answer.status, answer.backend) for answer in answers] == [(200, "a")]


def test_an_upstream_comes_and_goes(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("stays", target(a))
    rig.serves("stays", a)
    rig.forwards("stays")
    with rig.load("stays") as load:
        rig.upstream("comes", target(b))
        rig.forwards("comes")
        assert rig.ask("comes").backend == "b"
        rig.remove("comes")
        rig.envoy.wait_until(lambda: "comes" not in rig.envoy.clusters(), 10, "its removal")
        rig.envoy.wait_until(lambda: rig.ask("comes").status == 404, 10, "its route's removal")
        load.wait_for(60)
    assert load.failures == 0, load.errors


def test_a_cluster_that_is_rebuilt_has_its_endpoints_at_once(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("rebuilt", target(a), target(b))
    rig.serves("rebuilt", a, b)
    rig.forwards("rebuilt")
    with rig.load("rebuilt") as load:
        load.wait_for(20)
        for seconds in (3, 4):
            rig.upstream("rebuilt", target(a), target(b), connect_timeout=f"{seconds}s")
            rig.uses("rebuilt", connect_timeout=f"{seconds}s")
            load.wait_for(40)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster.rebuilt.init_fetch_timeout") == 0


def test_the_control_plane_comes_back(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("kept", target(a))
    rig.serves("kept", a)
    rig.forwards("kept")
    with rig.load("kept") as load:
        load.wait_for(20)
        rig.server.kill()
        rig.upstream("kept", target(a), target(b))
        load.wait_for(40)
        rig.server.restart()
        rig.serves("kept", a, b)
        load.wait_for(40)
    assert load.failures == 0, load.errors


def test_every_cluster_of_many_has_its_endpoints(tmp_path: Path, backends: Any) -> None:
    # Each asks on a stream of its own, and by default Envoy has 1024 requests at most under way to a cluster.
    a, _, _ = backends
    many = 1100
    with Rig(tmp_path, protocol="per-type", listener="static") as rig:
        rig.write("many", upstreams=[{"name": f"u{number}", "targets": [target(a)]} for number in range(many)])
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster_manager.active_clusters") == many + 1, 60, "all clusters")
        clusters = rig.envoy.clusters().items()
        empty = [name for name, status in clusters if name.startswith("u") and not status.get("host_statuses")]
        assert empty == []
        assert rig.send("u0", 5) == {"a": 5}


def test_each_envoy_is_served_in_its_own_way(rig: Rig, api: str, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("shared", target(a))
    rig.serves("shared", a)
    options = Bootstrap(
        node_id="aggregated",
        xds_address=rig.server.xds_address,
        static_listener=0,
        static_listener_address="127.0.0.1",
    )
    with EnvoyProcess(options) as other:
        other.wait_for_endpoints("shared", {a.address: "HEALTHY"})
        assert "ads" in eds_source(other, "shared")
        assert eds_source(rig.envoy, "shared")["api_config_source"]["api_type"] == api
        rig.upstream("shared", target(b))
        rig.serves("shared", b)
        other.wait_for_endpoints("shared", {b.address: "HEALTHY"})


@pytest.mark.parametrize("dialect", [dialect for dialect in Dialect if dialect.is_envoys], ids=lambda d: d.value)
def test_envoy_validates_what_is_served(dialect: Dialect, tmp_path: Path) -> None:
    done = validate(dialect, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


# With DELTA_GRPC, Envoy takes such a cluster without a word, and leaves it without endpoints.
@pytest.mark.parametrize("dialect", [Dialect.PER_TYPE, Dialect.REST], ids=lambda d: d.value)
def test_the_bootstrap_must_name_the_control_plane_as_ours_does(dialect: Dialect, tmp_path: Path) -> None:
    done = validate(dialect, tmp_path, control_plane="another-name")
    assert done.returncode != 0
    assert "xds-server.internal" in done.stderr


def validate(
    dialect: Dialect, directory: Path, *, control_plane: str = "xds-server.internal"
) -> "subprocess.CompletedProcess[str]":
    """Have Envoy read golden cases in a dialect, as static resources of a bootstrap."""
    bootstrap = yaml.safe_load(render(Bootstrap("n")).replace("xds-server.internal", control_plane))
    cases = [golden.read(name, certificates=golden.CERTIFICATES) for name in CASES]
    static = bootstrap["static_resources"]
    static["clusters"] += [
        to_dict(translate.cluster(upstream, dialect)) for case in cases for upstream in case.document.upstreams
    ]
    gateways = [gateway for case in cases for gateway in case.document.gateways]
    static["listeners"] = [to_dict(translate.listener(gateway, dialect)) for gateway in gateways]
    assert len(static["clusters"]) > len(CASES)
    assert static["listeners"]
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    command = [find_envoy(), "--mode", "validate", "-l", "warning", "-c", path]
    return subprocess.run(command, capture_output=True, text=True)


def eds_source(envoy: EnvoyProcess, cluster: str) -> dict[str, Any]:
    active = envoy.config_dump("dynamic_active_clusters")["configs"]
    found = next(entry["cluster"] for entry in active if entry["cluster"]["name"] == cluster)
    source: dict[str, Any] = found["eds_cluster_config"]["eds_config"]
    return source


def weights(rig: Rig, cluster: str) -> dict[str, int]:
    hosts = rig.envoy.clusters()[cluster]["host_statuses"]
    addresses = (host["address"]["socket_address"] for host in hosts)
    return {f"{a['address']}:{a['port_value']}": h.get("weight", 1) for a, h in zip(addresses, hosts, strict=True)}
