"""Settings that do not do what they seem to, each as the lint about it says."""

import pytest
from served_upstreams import ServedUpstreams, target
from told import lints

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

ACTIVE = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}


@pytest.mark.feature("Localities and failover", "a max_ejection_percent that keeps failover from ever coming is a lint")
@pytest.mark.feature("Lints", "failover-out-of-reach: a max_ejection_percent keeps failover from ever coming")
def test_failover_out_of_reach(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    passive = {"interval": "50ms", "ejection_time": "60s", "max_ejection_percent": 50}
    targets = [target(a), target(b), target(c, priority=1)]
    fields = {"targets": targets, "health_checks": {"passive": passive}}
    name = rig.serve(**fields)
    rig.envoy.wait_until(lambda: rig.send(name, 10) and rig.ejected(name) == 1)
    assert rig.send(name, 20) == {"500": 20}, "the standby is never used"
    assert lints(**fields) == ["failover-out-of-reach"]


@pytest.mark.feature("Localities and failover", "without any checks nothing ever fails over, as a lint says")
@pytest.mark.feature("Lints", "failover-without-checks: nothing ever fails over without any health signal")
def test_failover_without_checks(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b, priority=1)]}
    name = rig.serve(**fields)
    a.close()
    assert rig.send(name, 20) == {"503": 20}
    assert lints(**fields) == ["failover-without-checks"]


@pytest.mark.feature("Localities and failover", "weights share nothing between priorities, as a lint says")
@pytest.mark.feature("Lints", "weights-across-priorities: weights that share nothing")
def test_weights_across_priorities(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, *_ = backends
    targets = [target(a), target(b, weight=9, priority=1)]
    fields = {"targets": targets, "algorithm": "weighted-round-robin", "health_checks": {"active": ACTIVE}}
    name = rig.serve(**fields)
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "HEALTHY"})
    assert rig.send(name, 20) == {"a": 20}
    assert lints(**fields) == ["weights-across-priorities"]


@pytest.mark.feature(
    "Localities and failover",
    "proportional with send-all reaches failing targets of more than 100 early, as a lint says",
)
@pytest.mark.feature("Lints", "panic-too-early: send-all reaches failing targets while one is healthy")
def test_panic_too_early(rig: ServedUpstreams, backends: Backends) -> None:
    a, *_ = backends
    dead = [{"host": f"127.0.1.{number}", "port": a.port} for number in range(1, 105)]
    fields = {"targets": [target(a), *dead], "health_checks": {"active": {**ACTIVE, "interval": "500ms"}}}
    fields |= {"failover": "proportional", "on_all_unhealthy": "send-all"}
    name = rig.serve(**fields)
    rig.envoy.wait_until(lambda: sorted(rig.health(name).values())[-2:] == ["FAILED_ACTIVE_HC", "HEALTHY"])
    rig.envoy.wait_until(lambda: rig.send(name, 105)["503"] > 90, 10, "requests to failing targets")
    assert lints(**fields) == ["panic-too-early"]


@pytest.mark.feature(
    "Limits, retries and timeouts", "max_pending_requests: 0 with HTTP/1.1 fails every request, as a lint says"
)
@pytest.mark.feature("Lints", "no-pending-requests: with HTTP/1.1 every request fails")
def test_no_pending_requests(rig: ServedUpstreams, backends: Backends) -> None:
    a, *_ = backends
    fields = {"targets": [target(a)], "limits": {"max_pending_requests": 0}}
    assert rig.send(rig.serve(**fields), 5) == {"503": 5}
    assert lints(**fields) == ["no-pending-requests"]


@pytest.mark.feature("Load balancing", "hash_on means nothing to an algorithm that does not hash, as a lint says")
@pytest.mark.feature("Lints", "hash-on-ignored: the algorithm hashes nothing")
def test_hash_on_ignored(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b)], "hash_on": [{"path": True}]}
    assert rig.send(rig.serve(**fields), 10, "/same") == {"a": 5, "b": 5}
    assert lints(**fields) == ["hash-on-ignored"]
