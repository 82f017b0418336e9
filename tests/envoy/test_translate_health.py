"""Who is healthy, and what happens when few or none are, as the real Envoy carries it out."""

from typing import Any

import pytest
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

FAST = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}
PASSIVE = {"passive": {"consecutive_errors": 3, "interval": "50ms", "ejection_time": "60s"}}


@pytest.mark.parametrize(
    ("fields", "outcome"), [({}, {"503": 10}), ({"on_all_unhealthy": "send-all"}, {"a": 5, "b": 5})]
)
@pytest.mark.feature(
    "Localities and failover", "fail and send-all: with no healthy target 503, or all but those taken out by hand"
)
def test_when_no_target_is_healthy(
    rig: ServedUpstreams, backends: Backends, fields: dict[str, Any], outcome: dict[str, int]
) -> None:
    a, b, c, _ = backends
    a.healthy = b.healthy = False
    name = rig.serve([target(a), target(b), target(c, state="draining")], health_checks={"active": FAST}, **fields)
    rig.envoy.wait_until(lambda: rig.send(name, 10) == outcome)


@pytest.mark.feature("Localities and failover", "send-all: a sick target gets nothing while another one is healthy")
@pytest.mark.parametrize("failover", ["all-down", "proportional"])
def test_a_sick_target_gets_nothing_from_send_all_while_another_is_healthy(
    rig: ServedUpstreams, backends: Backends, failover: str
) -> None:
    a, b, c, d = backends
    b.healthy = c.healthy = d.healthy = False
    targets = [target(backend) for backend in backends]
    name = rig.serve(targets, health_checks={"active": FAST}, failover=failover, on_all_unhealthy="send-all")
    rig.envoy.wait_until(lambda: rig.send(name, 12) == {"a": 12})
    a.healthy = False
    rig.envoy.wait_until(lambda: rig.send(name, 12) == {"a": 3, "b": 3, "c": 3, "d": 3})


@pytest.mark.feature("Localities and failover", "all-down: the next priority takes over when the last target is down")
def test_all_down_keeps_to_the_last_of_a_priority_before_it_fails_over(
    rig: ServedUpstreams, backends: Backends
) -> None:
    a, b, c, d = backends
    a.healthy = b.healthy = False
    targets = [target(a), target(b), target(c), target(d, priority=1)]
    name = rig.serve(targets, health_checks={"active": FAST})
    failed = {a.address: "FAILED_ACTIVE_HC", b.address: "FAILED_ACTIVE_HC"}
    rig.envoy.wait_for_endpoints(name, {**failed, c.address: "HEALTHY", d.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send(name, 50) == {"c": 50})
    c.healthy = False
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"d": 10})


@pytest.mark.feature("Localities and failover", "proportional: the next priority takes over share by share")
def test_proportional_spills_share_by_share(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, _ = backends
    b.healthy = False
    targets = [target(a), target(b), target(c, priority=1)]
    name = rig.serve(targets, failover="proportional", health_checks={"active": FAST})
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "FAILED_ACTIVE_HC", c.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send(name, 30)["c"])
    counts = rig.send(name, 300)
    assert counts["a"] == pytest.approx(210, abs=40), "half the targets, times 140 %"
    assert counts["c"] == 300 - counts["a"]


@pytest.mark.feature(
    "Passive health checks", "with passive checks alone, all targets of all priorities are used when all are ejected"
)
def test_passive_checks_alone_fail_over_and_use_all_when_all_are_ejected(
    rig: ServedUpstreams, backends: Backends
) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    name = rig.serve([target(a), target(b), target(c, priority=1)], health_checks=PASSIVE)
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"c": 10})
    c.status = 500
    rig.envoy.wait_until(lambda: rig.send(name, 3) and rig.ejected(name) == 3)
    a.recover(), b.recover(), c.recover()
    assert rig.send(name, 30)["503"] == 0


@pytest.mark.feature("Passive health checks", "with passive checks alone, the last of many targets keeps every request")
def test_passive_checks_keep_to_the_last_of_many_targets(rig: ServedUpstreams, backends: Backends) -> None:
    a = backends["a"]
    dead = [{"host": f"127.0.0.{number}", "port": a.port} for number in range(2, 151)]
    passive = {"passive": {**PASSIVE["passive"], "consecutive_errors": 1}}
    name = rig.serve([target(a), *dead], health_checks=passive)
    # 1 of 150 is 0.7 %, and with Envoy's usual factor of 140 % below the least panic threshold of 1 %.
    rig.envoy.wait_until(lambda: rig.send(name, 150) == {"a": 150})
