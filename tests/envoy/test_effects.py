"""What the control plane says that a change does is what the real Envoy does, by its own counters."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from rig import Rig, free_port, target
from tls_backend import CERTIFICATES, MESH

from xds_server.testing import Backend, Backends

pytestmark = pytest.mark.envoy

CHECKED = {"health_checks": {"active": {"path": "/healthz", "interval": "1s"}}}
PASSIVE = {"health_checks": {"passive": {}}}
PROBED = "connections, probe results"
SLOWLY = {"health_checks": {"active": {"path": "/healthz", "interval": "2s"}}}
SOONER = {"health_checks": {"passive": {"consecutive_errors": 3}}}
ZONE = {"locality": {"zone": "z"}}
TLS = {"verify": False}
NAMED = {"host": "localhost"}
BY_ENVOY = {"resolve": "envoy", "algorithm": "least-connections"}


class Edit(NamedTuple):
    """Fields of an upstream, and of its first target, before and after."""

    before: dict[str, Any]
    after: dict[str, Any]
    effect: str
    target: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    drops: str = ""
    targets: tuple[int, int] = (2, 2)
    """How many there are."""


def of_target(
    before: dict[str, Any], after: dict[str, Any], effect: str = "endpoints", drops: str = "", **fields: Any
) -> Edit:
    return Edit(fields, fields, effect, (before, after), drops)


EDITS = {
    "weight": of_target({}, {"weight": 5}, algorithm="least-connections"),
    "weight-0": of_target({}, {"weight": 0}),
    "draining": of_target({}, {"state": "draining"}),
    "unhealthy": of_target({}, {"state": "unhealthy"}),
    "disabled": of_target({}, {"state": "disabled"}),
    "drain-until": of_target(
        {"state": "draining"}, {"state": "draining", "drain_until": "2999-01-01T00:00:00Z"}, "nothing"
    ),
    "drain-over": of_target({"state": "draining"}, {"state": "draining", "drain_until": "2020-01-01T00:00:00Z"}),
    "priority": of_target({}, {"priority": 1}),
    "locality": of_target({}, ZONE, drops="connections of 1 target(s)"),
    "target-labels": of_target({}, {"labels": {"a": "b"}}),
    "target-added": Edit({}, {}, "endpoints", targets=(2, 3)),
    "target-removed": Edit({}, {}, "endpoints", targets=(3, 2)),
    "target-text": of_target({}, {"description": "words"}, "nothing"),
    "probe-hostname": of_target(
        {}, {"health_check": {"hostname": "x"}}, "cluster rebuild, endpoints", PROBED, **CHECKED
    ),
    "probe-port": of_target({}, {"health_check": {"port": 9}}, "cluster rebuild, endpoints", PROBED, **CHECKED),
    "probe-address": of_target(
        {}, {"health_check": {"address": "127.0.0.2"}}, "cluster rebuild, endpoints", PROBED, **CHECKED
    ),
    "probe-off": of_target({}, {"health_check": {"disabled": True}}, "cluster rebuild, endpoints", PROBED, **CHECKED),
    "probe-of-none": of_target({}, {"health_check": {"disabled": True}}, "nothing"),
    "failover": Edit({}, {"failover": "proportional"}, "nothing"),
    "description": Edit({}, {"description": "words", "labels": {"a": "b"}}, "nothing"),
    "hash-of-none": Edit({}, {"hash_on": [{"path": True}]}, "nothing"),
    "hostnames": Edit({}, {"hostnames": ["effects.example"]}, "routes"),
    "host-header": Edit({}, {"host_header": "target"}, "routes, endpoints", drops="connections of 2 target(s)"),
    "timeout": Edit({}, {"timeout": "3s"}, "cluster rebuild, routes"),
    "retries": Edit({}, {"retries": {}}, "cluster rebuild, routes"),
    "algorithm": Edit({}, {"algorithm": "maglev"}, "cluster rebuild"),
    "hash-on": Edit({"algorithm": "maglev"}, {"algorithm": "maglev", "hash_on": [{"path": True}]}, "cluster rebuild"),
    "connect-timeout": Edit({}, {"connect_timeout": "3s"}, "cluster rebuild"),
    "limits": Edit({}, {"limits": {"max_requests": 9}}, "cluster rebuild"),
    "idle-timeout": Edit({}, {"idle_timeout": "3s"}, "routes"),
    "keepalive": Edit({}, {"keepalive": {"max_requests": 9}}, "cluster rebuild"),
    "protocol": Edit({}, {"protocol": "http2"}, "cluster rebuild"),
    "proxy-protocol": Edit({}, {"proxy_protocol": "v2"}, "cluster rebuild"),
    "tls-sni": Edit({"tls": {**TLS, "sni": "a"}}, {"tls": {**TLS, "sni": "b"}}, "cluster rebuild"),
    "tls-files": Edit(
        {"tls": {"sni": "a", "ca_file": f"{MESH}/ca.pem"}},
        {"tls": {"sni": "a", "ca_file": f"{CERTIFICATES}/ca.pem"}},
        "certificates",
    ),
    "linger": Edit({}, {"dns": {"linger": "1s"}}, "nothing"),
    "by-envoy": of_target(NAMED, {**NAMED, "weight": 5}, "cluster rebuild", **BY_ENVOY),
    "probe-interval": Edit(CHECKED, SLOWLY, "cluster rebuild", drops=PROBED),
    "passive": Edit(PASSIVE, SOONER, "cluster rebuild", drops="connections, ejections"),
    "slow-start": Edit({}, {"slow_start": {"window": "1s"}}, "cluster rebuild"),
    "override": Edit({}, {"envoy": {"per_connection_buffer_limit_bytes": 9999}}, "cluster rebuild"),
    "checks": Edit({}, CHECKED, "cluster rebuild"),
    "no-checks": Edit(CHECKED, {}, "cluster rebuild", drops=PROBED),
    "no-ejection": Edit(PASSIVE, {}, "cluster rebuild, endpoints", drops="connections, ejections"),
    "nodes": Edit({}, {"nodes": {"clusters": ["tests"]}}, "other nodes"),
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        yield rig


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c") as backends:
        yield backends


def counted(rig: Rig, name: str) -> dict[str, Any]:
    """How often Envoy has built a cluster anew, and taken certificates, and what it has of one upstream beside its cluster."""
    hosts = [
        host
        for entry in rig.envoy.config_dump("dynamic_route_configs")["configs"]
        for host in entry["route_config"]["virtual_hosts"]
        if host["name"] == name
    ]
    endpoints = [
        entry["endpoint_config"]
        for entry in rig.envoy.config_dump("dynamic_endpoint_configs")["configs"]
        if entry["endpoint_config"]["cluster_name"] == name
    ]
    for entry in endpoints:  # groups of one priority are in no order that means anything
        entry["endpoints"].sort(key=str)
    rebuilt = rig.envoy.stat("cluster_manager.cluster_modified")
    certificates = [
        entry["secret"]
        for entry in rig.envoy.config_dump("dynamic_active_secrets").get("configs", [])
        if entry["name"].startswith(f"{name}/")
    ]
    return {"cluster rebuild": rebuilt, "routes": hosts, "endpoints": endpoints, "certificates": certificates}


def kinds(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.mark.feature(
    "Target states", "what the log says that an edit does (endpoints, rebuild, routes, certificates) is what Envoy did"
)
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.feature("Lints", "each change is classified: endpoints alone or a cluster rebuild, and what that drops")
def test_upstreams(rig: Rig, backends: Backends, edit: str) -> None:
    before, after, effect, (target_before, target_after), drops, targets = EDITS[edit]
    a, b, c = backends
    given_before, given_after = ([target(a, **first), target(b), target(c)] for first in (target_before, target_after))
    rig.upstream(edit, *given_before[: targets[0]], **before)
    rig.routes(edit)
    rig.envoy.wait_until(lambda: rig.envoy.endpoints(edit)[b.address] == "HEALTHY", 10, "the upstream")
    settle(rig, b)
    was = counted(rig, edit)
    rig.upstream(edit, *given_after[: targets[1]], **after)
    said = applied(rig, edit)
    assert said["effect"] == effect
    assert said["drops"] == (drops or ("connections" if "rebuild" in effect else ""))
    seen = {*effect.split(", ")} & was.keys()
    rig.envoy.wait_until(lambda: kinds(was, counted(rig, edit)) >= seen, 10, f"{seen} of {edit}")
    settle(rig, b)
    # Those that Envoy resolves are part of the Cluster.
    part_of_cluster = {"endpoints"} if before.get("resolve") == "envoy" else set()
    # The health of an endpoint is shown with it: of a new cluster, for a moment, before its probes.
    rig.envoy.wait_until(
        lambda: kinds(was, counted(rig, edit)) - part_of_cluster == seen, 10, f"nothing but {seen} of {edit}"
    )


def applied(rig: Rig, name: str, count: int = 2) -> dict[str, Any]:
    """What was said of the last change of a definition: of its first, that it was added."""

    def mine() -> list[dict[str, Any]]:
        return [event for event in rig.server.events("definition.applied") if event["name"] == name]

    rig.server.wait_until(lambda: len(mine()) >= count, 10, f"{count} changes of {name}")
    return mine()[-1]


def settle(rig: Rig, backend: Backend) -> None:
    """Wait until what was sent before has arrived: what is sent after it has, of each type."""
    marker = f"marker-{len(rig.server.events('definition.applied'))}"
    rig.write("marker", upstreams=[{"name": marker, "targets": [target(backend)]}])
    rig.envoy.wait_until(lambda: rig.ask(marker).status == 200, 10, "the marker")


@pytest.mark.feature("Gateways", "what the log says that an edit of a gateway does is what Envoy did")
def test_gateways(rig: Rig) -> None:
    public = {"name": "public", "address": "127.0.0.1", "port": rig.port}
    second = {"name": "second", "address": "127.0.0.1", "port": free_port()}
    rig.write("gateways", gateways=[public, second])
    rig.envoy.wait_until(lambda: rig.envoy.listener_port("second") == second["port"], 10, "the gateway")
    modified = rig.envoy.stat("listener_manager.listener_modified")
    moved = {**second, "port": free_port()}
    rig.write("gateways", gateways=[public, moved])
    assert applied(rig, "second")["effect"] == "listener"
    rig.envoy.wait_until(lambda: rig.envoy.listener_port("second") == moved["port"], 10, "its new port")
    assert rig.envoy.stat("listener_manager.listener_modified") == modified + 1
    rig.write("gateways", gateways=[public])
    assert applied(rig, "second", 3)["effect"] == "removed"


@pytest.mark.feature(
    "Passive health checks", "an ejection survives edits of targets, and is lost when a cluster is rebuilt"
)
@pytest.mark.feature("Lints", "each change is classified: endpoints alone or a cluster rebuild, and what that drops")
def test_what_is_lost(rig: Rig) -> None:
    with Backends("a", "b") as (a, b):
        checks = {"passive": {"consecutive_errors": 2, "interval": "1s", "ejection_time": "60s"}}
        rig.upstream("lost", target(a), target(b), health_checks=checks)
        rig.serves("lost", a, b)
        rig.routes("lost")
        a.status = 500
        rig.envoy.wait_until(lambda: rig.send("lost", 6) and rig.envoy.endpoints("lost")[a.address] == "EJECTED")
        a.status = 200
        b.reset()
        rig.upstream("lost", target(a), target(b, labels={"a": "b"}), health_checks=checks)
        assert applied(rig, "lost")["drops"] == ""
        rig.envoy.wait_until(
            lambda: "metadata" in str(rig.envoy.config_dump("dynamic_endpoint_configs")), 10, "the edit"
        )
        assert rig.send("lost", 10) == {"b": 10}
        assert b.accepted == 0, "its connection is kept"
        rig.upstream("lost", target(a), target(b), health_checks=checks, connect_timeout="3s")
        assert applied(rig, "lost", 3)["drops"] == "connections, ejections"
        rig.serves("lost", a, b)
        assert rig.send("lost", 10) == {"a": 5, "b": 5}
        assert b.accepted > 0


@pytest.mark.feature("Active health checks", "what probes have found survives edits of targets, not of the cluster")
@pytest.mark.feature("Lints", "each change is classified: endpoints alone or a cluster rebuild, and what that drops")
def test_probe_results_are_lost(rig: Rig) -> None:
    with Backend("a") as a:
        checks = {"active": {"path": "/healthz", "interval": "1h"}}
        rig.upstream("probed", target(a), health_checks=checks)
        rig.serves("probed", a)
        assert a.probes == 1
        updates = rig.envoy.stat("cluster.probed.update_success")
        rig.upstream("probed", target(a, labels={"a": "b"}), health_checks=checks)
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster.probed.update_success") > updates, 10, "the edit")
        assert rig.envoy.endpoints("probed")[a.address] == "HEALTHY"
        assert (applied(rig, "probed")["drops"], a.probes) == ("", 1)
        rig.upstream("probed", target(a, labels={"a": "b"}), health_checks=checks, connect_timeout="3s")
        assert applied(rig, "probed", 3)["drops"] == PROBED
        rig.envoy.wait_until(lambda: a.probes > 1, 10, "another first probe")


@pytest.mark.feature("Target states", "edits of a target keep its connections, but for its place and its own host name")
@pytest.mark.feature("Lints", "each change is classified: endpoints alone or a cluster rebuild, and what that drops")
def test_connections_of_targets(rig: Rig) -> None:
    with Backend("a") as a:
        rig.upstream("kept", target(a))
        rig.serves("kept", a)
        rig.routes("kept")
        assert rig.send("kept", 5) == {"a": 5}
        edits: tuple[dict[str, Any], ...] = ({"weight": 5}, {"labels": {"a": "b"}}, {"priority": 3}, ZONE, {})
        for count, more in enumerate(edits, 2):
            own_name = {"host_header": "target"} if more == {} else {}
            updates = rig.envoy.stat("cluster.kept.update_success")
            a.reset()
            rig.upstream("kept", target(a, **(more or ZONE)), failover="proportional", **own_name)
            said = applied(rig, "kept", count)
            rig.envoy.wait_until(lambda n=updates: rig.envoy.stat("cluster.kept.update_success") > n, 10, str(more))
            rig.serves("kept", a)
            assert rig.send("kept", 5) == {"a": 5}
            assert (a.accepted > 0) == (said["drops"] == "connections of 1 target(s)") == (more in (ZONE, {}))
