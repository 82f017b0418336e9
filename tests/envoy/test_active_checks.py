"""When probes are sent, and what follows from them: who is used, taken out, returned and removed."""

from contextlib import ExitStack
from typing import Any

import pytest
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backend, Backends

pytestmark = pytest.mark.envoy

SECTION = "Active health checks"
FAST = {"path": "/healthz", "interval": "50ms", "timeout": "2s", "healthy_threshold": 1, "unhealthy_threshold": 2}


def checks(**active: Any) -> dict[str, Any]:
    return {"active": {**FAST, **active}}


@pytest.mark.feature(SECTION, "a target that fails its probes gets no requests until it passes them again")
def test_a_target_that_fails_its_probes_gets_nothing_until_it_passes(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    name = rig.serve([target(a), target(b)], health_checks=checks())
    a.healthy = False
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC", b.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"b": 10})
    a.healthy = True
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"a": 5, "b": 5})


@pytest.mark.feature(SECTION, "a target is out only after as many failed probes in a row as unhealthy_threshold says")
def test_the_unhealthy_threshold_holds_for_bad_statuses(rig: ServedUpstreams, backends: Backends) -> None:
    a = backends["a"]
    name = rig.serve([target(a)], health_checks=checks(unhealthy_threshold=6))
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY"})
    a.healthy, probes = False, a.probes
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC"})
    assert a.probes - probes >= 5
    assert rig.stat(name, "health_check.failure") >= 6


@pytest.mark.feature(SECTION, "a target is used again only after as many passed probes as healthy_threshold says")
def test_the_healthy_threshold_holds(rig: ServedUpstreams, backends: Backends) -> None:
    a = backends["a"]
    a.healthy = False
    name = rig.serve([target(a)], health_checks=checks(healthy_threshold=6))
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC"})
    a.healthy, passed = True, rig.stat(name, "health_check.success")
    assert not passed
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY"})
    assert rig.stat(name, "health_check.success") >= 6


@pytest.mark.feature(SECTION, "a probe that is not answered within its timeout has failed")
def test_a_probe_that_takes_too_long_has_failed(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    a.delay = b.delay = 0.5
    upstreams = [
        {"targets": [target(a)], "health_checks": checks(path="/slow", timeout="100ms")},
        {"targets": [target(b)], "health_checks": checks(path="/slow", timeout="10s")},
    ]
    slow, patient = rig.serve_all(upstreams)
    rig.envoy.wait_for_endpoints(patient, {b.address: "HEALTHY"})
    rig.envoy.wait_for_endpoints(slow, {a.address: "FAILED_ACTIVE_HC"})
    assert rig.stat(slow, "health_check.success") == 0


@pytest.mark.feature(SECTION, "probes go on at their interval when there are no requests at all")
def test_probes_need_no_traffic(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    name = rig.serve([target(a), target(b)], health_checks=checks())
    rig.envoy.wait_until(lambda: min(a.probes, b.probes) >= 20)
    b.healthy = False
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "FAILED_ACTIVE_HC"})
    assert rig.stat(name, "upstream_rq_total") == 0


@pytest.mark.feature(
    SECTION, "a target that fails its very first probe is back soon after it passes, without traffic too"
)
def test_a_target_that_fails_its_first_probe_comes_back_soon(rig: ServedUpstreams, backends: Backends) -> None:
    a = backends["a"]
    a.healthy = False
    name = rig.serve([target(a)], health_checks=checks())
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC"})
    rig.envoy.wait_until(lambda: a.probes >= 2)
    a.healthy = True
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY"})
    assert rig.stat(name, "upstream_rq_total") == 0


@pytest.mark.feature(SECTION, "unhealthy targets are probed at unhealthy_interval, healthy ones at interval")
@pytest.mark.parametrize("with_traffic", [False, True])
def test_unhealthy_targets_have_an_interval_of_their_own(
    rig: ServedUpstreams, backends: Backends, with_traffic: bool
) -> None:
    a, b = backends["a"], backends["b"]
    a.healthy = False
    active = {"interval": "1h", "unhealthy_interval": "50ms", "healthy_threshold": 3}
    name = rig.serve([target(a), target(b)], health_checks=checks(**active))
    if with_traffic:
        rig.envoy.wait_until(lambda: rig.send(name, 10) == {"b": 10})
    rig.envoy.wait_until(lambda: a.probes >= 5)
    assert b.probes == 1
    a.healthy = True
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "HEALTHY"})
    assert b.probes == 1


@pytest.mark.feature(SECTION, "interval_jitter_percent stretches intervals at random by up to that share")
def test_jitter_stretches_intervals(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    upstreams = [
        {"targets": [target(backend)], "health_checks": checks(interval="50ms", interval_jitter_percent=percent)}
        for backend, percent in ((a, 0), (b, 100))
    ]
    rig.serve_all(upstreams)
    before = a.probes, b.probes
    rig.envoy.wait_until(lambda: a.probes - before[0] >= 40)
    # On average one and a half intervals, which is 27; a busy machine delays both.
    assert 15 < b.probes - before[1] < 36


@pytest.mark.feature(SECTION, "probes share a connection, or open one each where reuse_connection is false")
def test_probes_share_a_connection_unless_told_otherwise(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    upstreams = [
        {"targets": [target(a)], "health_checks": checks()},
        {"targets": [target(b)], "health_checks": checks(reuse_connection=False)},
    ]
    rig.serve_all(upstreams)
    rig.envoy.wait_until(lambda: min(a.probes, b.probes) >= 10)
    assert a.accepted == 1
    assert b.accepted >= 10


@pytest.mark.feature(SECTION, "a new target gets no request before its first passed probe, of which one is enough")
def test_a_new_target_is_used_from_its_first_passed_probe_on(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    b.healthy = False
    upstream = {"name": "joining", "health_checks": checks(healthy_threshold=1000)}
    rig.put({**upstream, "targets": [target(a)]})
    rig.put({**upstream, "targets": [target(a), target(b)]})
    rig.envoy.wait_until(lambda: b.probes >= 2)
    assert rig.send("joining", 20) == {"a": 20}
    assert b.count == 0
    with Backend("c") as c:
        rig.put({**upstream, "targets": [target(a), target(b), target(c)]})
        rig.envoy.wait_until(lambda: rig.send("joining", 20) == {"a": 10, "c": 10})


@pytest.mark.feature(SECTION, "many new targets at once, not probed yet, cause neither panic nor failover")
def test_new_targets_do_not_count_before_they_were_probed(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        a, backup, *new = (stack.enter_context(Backend(name)) for name in ("a", "backup", *"bcdefgh"))
        for backend in new:
            backend.delay = 30  # no answer to a probe while this test lasts
        fields: dict[str, Any] = {"failover": "proportional", "health_checks": checks(path="/probe", timeout="60s")}
        name = rig.serve([target(a), target(backup, priority=1)], **fields)
        rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", backup.address: "HEALTHY"})
        targets = [target(a), *map(target, new), target(backup, priority=1)]
        rig.put({"name": name, "targets": targets, **fields})
        rig.envoy.wait_until(lambda: all(backend.count == 1 for backend in new))
        assert rig.send(name, 50) == {"a": 50}, "one of eight would spill over"
        assert rig.stat(name, "lb_healthy_panic") == 0
        assert [backend.count for backend in new] == [1] * len(new), "their probes"


@pytest.mark.feature(SECTION, "a removed target is gone at once although it still passes its probes")
def test_R36_a_removed_target_is_gone_at_once_although_its_probes_pass(
    rig: ServedUpstreams, backends: Backends
) -> None:
    a, b = backends["a"], backends["b"]
    upstream = {"name": "leaving", "health_checks": checks()}
    rig.put({**upstream, "targets": [target(a), target(b)]})
    rig.envoy.wait_for_endpoints("leaving", {a.address: "HEALTHY", b.address: "HEALTHY"})
    rig.put({**upstream, "targets": [target(b)]})
    rig.envoy.wait_for_endpoints("leaving", {b.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send("leaving", 10) == {"b": 10})
    assert a.healthy
    probes = a.probes
    rig.envoy.wait_until(lambda: b.probes >= 2)
    b.reset()
    rig.envoy.wait_until(lambda: b.probes >= 5)
    assert a.probes <= probes + 1, "it is not probed any more"
