"""Every kind of change, made while requests flow: none of them fails."""

from collections.abc import Iterator
from typing import Any

import pytest
from rig import Rig, target
from streams import Stream

from xds_server.testing import Backends, request

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module", params=["delta", "sotw"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig"), protocol=request.param) as rig:
        yield rig


@pytest.fixture
def backends() -> Iterator[Any]:
    with Backends("a", "b", "c") as servers:
        yield servers


@pytest.mark.feature("Load balancing", "a weight is changed under load without a failed request, and the shares follow")
def test_changing_a_weight(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("weight", target(a), target(b), algorithm="weighted-round-robin")
    rig.serves("weight", a, b)
    rig.routes("weight")
    with rig.load("weight") as load:
        load.wait_for(100)
        rig.upstream("weight", target(a, weight=9), target(b), algorithm="weighted-round-robin")
        rig.envoy.wait_until(lambda: _weights(rig, "weight") == {a.address: 9, b.address: 1}, 10, "the new weight")
        load.wait_for(20)
        load.reset()
        load.wait_for(200)
    assert load.failures == 0, load.errors
    assert abs(load.backends["a"] / load.total - 0.9) < 0.02


@pytest.mark.feature("Target states", "targets are added and disabled under load without a failed request")
def test_adding_and_disabling_a_target(rig: Rig, backends: Any) -> None:
    a, b, c = backends
    rig.upstream("targets", target(a), target(b))
    rig.serves("targets", a, b)
    rig.routes("targets")
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


@pytest.mark.feature(
    "Target states", "a draining target gets nothing new, and the answer that it is giving comes to its end"
)
def test_R34_draining_a_target_lets_its_request_finish(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("drain", target(a))
    rig.serves("drain", a)
    rig.routes("drain")
    stream = Stream(rig, "drain", a)
    with rig.load("drain") as load:
        rig.upstream("drain", target(a, state="draining"), target(b))
        rig.serves("drain", a, b, a="DRAINING")
        load.wait_for(20)
        a.reset()
        load.wait_for(100)
    assert load.failures == 0, load.errors
    assert a.count == 0, "a draining target gets nothing new"
    stream.end()


@pytest.mark.feature("Gateways", "upstreams come and go without a failed request to others, or a 503 in between")
def test_adding_and_removing_an_upstream(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("stays", target(a))
    rig.serves("stays", a)
    rig.routes("stays")
    with rig.load("stays") as load:
        rig.upstream("comes", target(b))
        rig.routes("comes")
        assert rig.ask("comes").backend == "b", "no 503 between its route and its cluster"
        rig.remove("comes")
        rig.envoy.wait_until(lambda: "comes" not in rig.envoy.clusters(), 10, "its removal")
        assert rig.ask("comes").status == 404
        load.wait_for(60)
    assert load.failures == 0, load.errors


@pytest.mark.feature("Gateways", "a host name moves to another upstream without a failed request")
def test_moving_a_host_name_to_another_upstream(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("blue", target(a), hostnames=["app.example"])
    rig.routes("app.example")
    with rig.load("app.example") as load:
        load.wait_for(40)
        # One file, so one change: the new upstream, and the name that moves to it.
        rig.write("blue", upstreams=[{"name": "green", "targets": [target(b)], "hostnames": ["app.example"]}])
        rig.envoy.wait_until(lambda: "blue" not in rig.envoy.clusters(), 10, "the old upstream's removal")
        load.wait_for(20)
        a.reset()
        b.reset()
        load.wait_for(40)
    assert load.failures == 0, load.errors
    assert a.count == 0
    assert b.count > 0


@pytest.mark.feature("Gateways", "a gateway is renamed and keeps its port")
def test_renaming_the_gateway_keeps_its_port(rig: Rig, backends: Any) -> None:
    a, *_ = backends
    rig.upstream("behind", target(a))
    rig.serves("behind", a)
    rig.routes("behind")
    port = rig.port
    try:
        rig.write("gateways", gateways=[{"name": "renamed", "address": "127.0.0.1", "port": port}])
        rig.envoy.wait_until(lambda: rig.envoy.listener_port("renamed") == port, 10, "the renamed gateway")
        rig.envoy.wait_until(lambda: request(port, "behind").backend == "a", 10, "an answer from it")
        assert rig.server.events("xds.rejected") == []
    finally:
        rig.write("gateways", gateways=[{"name": "public", "address": "127.0.0.1", "port": port}])
        rig.envoy.wait_until(lambda: rig.port == port and rig.ask("behind").status == 200, 10, "the gateway as it was")


@pytest.mark.feature("Load balancing", "the algorithm is changed live, from each to the next, without a lost request")
def test_changing_the_algorithm(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    rig.upstream("algorithm", target(a), target(b))
    rig.serves("algorithm", a, b)
    rig.routes("algorithm")
    with rig.load("algorithm") as load:
        load.wait_for(40)
        for number, algorithm in enumerate(("least-connections", "maglev", "ring-hash", "random", "round-robin"), 3):
            rig.upstream("algorithm", target(a), target(b), algorithm=algorithm, connect_timeout=f"{number}s")
            rig.uses("algorithm", connect_timeout=f"{number}s")
            load.wait_for(40)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster.algorithm.assignment_use_cached") == 0, "the endpoints came with the cluster"


@pytest.mark.feature("Active health checks", "probes are edited under load without a failed request")
def test_editing_a_health_check(rig: Rig, backends: Any) -> None:
    a, b, _ = backends
    checks = {"active": {"path": "/healthz", "interval": "200ms", "timeout": "1s"}}
    rig.upstream("checked", target(a), target(b), health_checks=checks)
    rig.serves("checked", a, b)
    rig.routes("checked")
    with rig.load("checked") as load:
        load.wait_for(40)
        for number in (3, 4):
            checks["active"]["interval"] = f"{number}00ms"
            rig.upstream("checked", target(a), target(b), health_checks=checks, connect_timeout=f"{number}s")
            rig.uses("checked", connect_timeout=f"{number}s")
            load.wait_for(60)
    assert load.failures == 0, load.errors
    assert a.probes > 0


def _weights(rig: Rig, cluster: str) -> dict[str, int]:
    hosts = rig.envoy.clusters()[cluster]["host_statuses"]
    addresses = (host["address"]["socket_address"] for host in hosts)
    return {f"{a['address']}:{a['port_value']}": h.get("weight", 1) for a, h in zip(addresses, hosts, strict=True)}
