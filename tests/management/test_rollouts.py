"""Revisions on their way to real Envoys: waited for, rejected, drained, gone back from, all over the API."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trustme
from rig import free_port, target

from xds_server.bootstrap import Bootstrap, render
from xds_server.testing import Backends, EnvoyProcess, XdsServerProcess, send

pytestmark = pytest.mark.envoy
ONLY_TWO_HAS = "CA_OF_TWO"
"""An environment variable."""
AT_ONCE = {"common_lb_config": {"update_merge_window": "0s"}}


class Fleet:
    """A control plane without files, two Envoys, and its API."""

    def __init__(self, api: httpx.Client, envoys: dict[str, EnvoyProcess], server: XdsServerProcess, port: int) -> None:
        self.api, self.envoys, self.server, self.port = api, envoys, server, port

    def apply(self, *upstreams: dict[str, Any], **query: Any) -> Any:
        wait = {"wait": "100%", "timeout": "10s"} | query
        answer = self.api.post("/v1/apply", json={"upstreams": upstreams}, params=wait)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def revision(self, number: int) -> Any:
        return self.api.get(f"/v1/revisions/{number}").json()


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as started:
        server = started.enter_context(XdsServerProcess())
        api = started.enter_context(httpx.Client(base_url=f"http://{server.http_address}", timeout=30))
        gateway = {"name": "public", "address": "127.0.0.1", "port": free_port()}
        assert api.post("/v1/apply", json={"gateways": [gateway]}).is_success
        here = Bootstrap(node_id="one", node_cluster="tests", xds_address=server.xds_address)
        # The other one has a listener of its own, so that they need not share a port.
        there = replace(here, node_id="two", static_listener=0, static_listener_address="127.0.0.1")
        one = started.enter_context(EnvoyProcess(render(here)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ONLY_TWO_HAS, trustme.CA().cert_pem.bytes().decode())
            two = started.enter_context(EnvoyProcess(render(there)))
        one.wait_until(lambda: one.listener_port("public"), 10, "the listener")
        two.wait_until(lambda: len(api.get("/v1/nodes").json()["nodes"]) == 2, 10, "its node")
        yield Fleet(api, {"one": one, "two": two}, server, one.listener_port("public"))


@pytest.fixture
def backends() -> Iterator[Any]:
    with Backends("a", "b") as (a, b):
        yield a, b


def test_a_write_can_wait_until_every_envoy_has_it(fleet: Fleet, backends: Any) -> None:
    a, b = backends
    made = fleet.apply({"name": "waited", "targets": [target(a), target(b)], "envoy": AT_ONCE})
    assert (made["wait"]["ok"], made["wait"]["affected"], made["wait"]["acknowledged"]) == (True, 2, 2)
    assert made["wait"]["detail"] == "2 of 2 affected Envoys acknowledged it"
    for envoy in fleet.envoys.values():
        envoy.wait_for_endpoints("waited", {a.address: "HEALTHY", b.address: "HEALTHY"}, 0.2)
    nobody = fleet.apply({"name": "for-others", "targets": [target(a)], "nodes": {"ids": ["three"]}})
    assert (nobody["wait"]["ok"], nobody["wait"]["detail"]) == (True, "no connected Envoy is affected")


def test_operators_drain_a_target_and_go_back(fleet: Fleet, backends: Any) -> None:
    a, b = backends
    before = fleet.apply({"name": "operated", "targets": [target(a), target(b)], "envoy": AT_ONCE})["revision"]
    envoy = fleet.envoys["one"]
    envoy.wait_until(lambda: send(fleet.port, "operated", 1) != {404: 1}, 10, "a route")
    assert send(fleet.port, "operated", 20) == {"a": 10, "b": 10}
    assert fleet.api.patch(f"/v1/upstreams/operated/targets/{a.address}", json={"state": "draining"}).is_success
    envoy.wait_for_endpoints("operated", {a.address: "DRAINING", b.address: "HEALTHY"})
    envoy.wait_until(lambda: send(fleet.port, "operated", 5) == {"b": 5}, 10, "all traffic at the other")
    rolled = fleet.api.post(f"/v1/revisions/{before}/rollback", params={"with_overrides": True, "wait": "100"}).json()
    assert rolled["wait"]["ok"], rolled
    envoy.wait_until(lambda: send(fleet.port, "operated", 20) == {"a": 10, "b": 10}, 10, "both again")


def test_an_envoy_that_does_not_answer_is_named(fleet: Fleet, backends: Any) -> None:
    a, _ = backends
    frozen = fleet.envoys["two"]
    assert frozen._process is not None
    os.kill(frozen._process.pid, signal.SIGSTOP)
    try:
        made = fleet.apply({"name": "unanswered", "targets": [target(a)]}, timeout="500ms")
        half = fleet.apply({"name": "unanswered", "targets": []}, wait="50%")
    finally:
        os.kill(frozen._process.pid, signal.SIGCONT)
    assert not made["wait"]["ok"]
    assert [one["node"] for one in made["wait"]["pending"]] == ["two"]
    assert made["wait"]["detail"].startswith(
        "1 of 2 affected Envoys acknowledged it, 100 % were wanted; not answered: two"
    )
    assert half["wait"]["ok"]
    frozen.wait_until(lambda: fleet.revision(made["revision"])["delivery"]["acknowledged"] == 2, 10, "its answer")


def test_a_rejection_names_the_definition_and_the_field_and_the_revision_is_degraded(
    fleet: Fleet, backends: Any
) -> None:
    a, _ = backends
    broken = {"name": "broken", "targets": [target(a)], "tls": {"sni": "a.example", "ca_file": "/nowhere/ca.pem"}}
    made = fleet.apply(broken, {"name": "beside", "targets": [target(a)], "envoy": AT_ONCE})
    rejected = made["wait"]["rejected"]
    assert not made["wait"]["ok"]
    assert rejected[0]["node"] in ("one", "two"), "and no more is waited for, as all cannot be had any more"
    assert rejected[0]["upstreams"] == [{"kind": "upstream", "name": "broken", "field": "tls.ca_file"}], rejected
    assert "/nowhere/ca.pem" in rejected[0]["detail"]

    def degraded() -> set[tuple[str, ...]]:
        found = fleet.revision(made["revision"])["degraded"]
        return {(one["node"], one["name"], one["field"]) for one in found}

    both = {("one", "broken", "tls.ca_file"), ("two", "broken", "tls.ca_file")}
    fleet.envoys["one"].wait_until(lambda: degraded() == both, 10, "both Envoys' rejections")
    nodes = {node["id"]: node for node in fleet.api.get("/v1/nodes").json()["nodes"]}
    assert nodes["one"]["status"] == "NACKED"
    assert "/nowhere/ca.pem" in nodes["one"]["types"]["Secret"]["rejection"]["message"]
    said = fleet.server.wait_for_event("xds.rejected")
    assert said["definitions"] == "upstream broken: tls.ca_file"
    fleet.envoys["one"].wait_for_endpoints("beside", {a.address: "HEALTHY"})
    mended = fleet.apply({"name": "broken", "targets": [target(a)]})
    assert mended["wait"]["ok"], mended
    assert degraded() == set()
    assert fleet.api.get("/v1/nodes/one").json()["types"]["Secret"]["status"] == "SYNCED"


def test_P22_what_one_envoy_refuses_is_kept_back_from_it_alone(fleet: Fleet, backends: Any) -> None:
    a, b = backends
    kept, beside = ({"name": name, "targets": [target(a)], "envoy": AT_ONCE} for name in ("kept", "beside"))
    before = fleet.apply(kept, beside)["revision"]
    one, two = fleet.envoys.values()
    one.wait_until(lambda: send(fleet.port, "kept", 1) == {"a": 1}, 10, "a route")
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"environment_variable": ONLY_TWO_HAS}}},
    }
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    matches = [{"name": "none-of-its-targets", "match": {"tls": "yes"}, "transport_socket": socket}]
    changed = {"connect_timeout": "3s", "envoy": {**AT_ONCE, "transport_socket_matches": matches}}
    made = fleet.apply({**kept, **changed}, {**beside, "connect_timeout": "3s"})
    assert not made["wait"]["ok"]
    assert [rejected["node"] for rejected in made["wait"]["rejected"]] == ["one"]
    assert [blamed["name"] for blamed in made["wait"]["rejected"][0]["upstreams"]] == ["kept"]
    for envoy, name in ((one, "beside"), (two, "kept"), (two, "beside")):
        envoy.wait_until(lambda e=envoy, n=name: timeout_of(e, n) == "3s", 10, f"the change of {name}")
    assert timeout_of(one, "kept") == "5s"
    # Its targets change all the same, and the revision stays degraded.
    assert fleet.apply({**kept, **changed, "targets": [target(b)]})["wait"]["ok"]
    for envoy in (one, two):
        envoy.wait_for_endpoints("kept", {b.address: "HEALTHY"})
    assert send(fleet.port, "kept", 5) == {"b": 5}
    node = fleet.api.get("/v1/nodes/one").json()
    (kept_back,) = node["types"]["Cluster"]["quarantined"]
    assert (node["status"], kept_back["name"]) == ("NACKED", "kept")
    assert ONLY_TWO_HAS in kept_back["message"]
    assert fleet.api.get("/v1/nodes/two").json()["status"] == "SYNCED"
    newest = fleet.api.get("/v1/revisions").json()["revisions"][0]["revision"]
    assert {(each["node"], each["name"]) for each in fleet.revision(newest)["degraded"]} == {("one", "kept")}
    assert fleet.server.wait_for_event("xds.quarantined")["node"] == "one"
    rolled = fleet.api.post(f"/v1/revisions/{before}/rollback", params={"wait": "100%", "timeout": "10s"}).json()
    assert rolled["wait"]["ok"], rolled
    assert fleet.api.get("/v1/nodes/one").json()["status"] == "SYNCED"
    assert fleet.revision(newest)["degraded"] == []
    for envoy in (one, two):
        envoy.wait_until(lambda e=envoy: timeout_of(e, "kept") == "5s", 10, "what was before")


def timeout_of(envoy: EnvoyProcess, name: str) -> str:
    active = {
        entry["cluster"]["name"]: entry["cluster"] for entry in envoy.config_dump("dynamic_active_clusters")["configs"]
    }
    return str(active[name].get("connect_timeout"))


def test_a_preview_names_who_would_be_touched(fleet: Fleet, backends: Any) -> None:
    a, _ = backends
    fleet.apply({"name": "previewed", "targets": [target(a)]})
    document = {"upstreams": [{"name": "previewed", "targets": [target(a)], "algorithm": "maglev"}]}
    (change,) = fleet.api.post("/v1/apply?dry_run=true", json=document).json()["changes"]
    assert change["nodes"] == {"count": 2, "ids": ["one", "two"]}
    assert (change["effect"], change["drops"]) == ("cluster rebuild", ["connections"])


def test_metrics_count_what_happens_and_name_nobody(fleet: Fleet) -> None:
    text = fleet.api.get("/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.startswith(("xds_server_", "process_", "python_")) for line in lines)
    assert any(line.startswith("xds_server_convergence_seconds_bucket") for line in lines)
    assert not any(name in line for line in lines for name in ('"one"', '"two"', "waited"))


def test_a_lost_store_empties_no_envoy(fleet: Fleet) -> None:
    """Last in its module: the control plane comes back with another store, in which nothing was ever written."""
    envoy = fleet.envoys["one"]
    before = {name for name in envoy.clusters() if not name.startswith("xds-server")}
    assert before
    fleet.server.store = fleet.server.store.replace("store.db", "another.db")
    fleet.server.restart()
    envoy.wait_until(lambda: fleet.api.get("/v1/nodes").json()["nodes"], 15, "the Envoys are back")
    assert {name for name in envoy.clusters() if not name.startswith("xds-server")} == before
