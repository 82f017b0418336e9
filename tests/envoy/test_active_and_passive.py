"""Probes and ejection together, and how gently a target comes back."""

import time
from typing import Any

import pytest
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

ACTIVE = {"path": "/healthz", "interval": "50ms", "timeout": "2s", "healthy_threshold": 1, "unhealthy_threshold": 1}
PASSIVE = {"consecutive_errors": 3, "interval": "50ms", "ejection_time": "60s"}


def checks(**passive: Any) -> dict[str, Any]:
    return {"active": ACTIVE, "passive": {**PASSIVE, **passive}}


@pytest.mark.feature("Passive health checks", "beside probes, what either of the two finds failing gets no requests")
def test_each_finds_what_the_other_does_not(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, d = backends
    a.status = 500  # its probes pass
    b.healthy = False  # its requests are answered well
    name = rig.serve(list(map(target, backends)), health_checks=checks())
    rig.envoy.wait_until(lambda: rig.send(name, 12) == {"c": 6, "d": 6})
    healthy = {c.address: "HEALTHY", d.address: "HEALTHY"}
    assert rig.health(name) == {a.address: "EJECTED", b.address: "FAILED_ACTIVE_HC", **healthy}
    b.healthy = True
    rig.envoy.wait_until(lambda: rig.send(name, 12) == {"b": 4, "c": 4, "d": 4})


@pytest.mark.feature(
    "Passive health checks", "beside probes, half of the targets may be ejected by default, of two one"
)
def test_beside_active_checks_half_may_be_ejected(rig: ServedUpstreams, backends: Backends) -> None:
    for backend in backends:
        backend.status = 500  # one bad URL: the probes still pass
    four, two = rig.serve_all(
        [{"targets": list(map(target, some)), "health_checks": checks()} for some in (backends, [*backends][:2])]
    )
    for name, number in ((four, 2), (two, 1)):
        rig.envoy.wait_until(lambda: rig.send(name, 12) and rig.ejected(name) == number)  # noqa: B023
        rig.send(name, 40)
        assert rig.ejected(name) == number
        assert rig.send(name, 10)["503"] == 0


@pytest.mark.feature(
    "Passive health checks", "a passed probe returns an ejected target only with uneject_on_passed_probe"
)
def test_a_passed_probe_returns_nobody_unless_asked_to(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    a.status = b.status = 500
    stays, returns = rig.serve_all(
        [
            {"targets": [target(a)], "health_checks": checks(max_ejection_percent=100)},
            {
                "targets": [target(b)],
                "health_checks": checks(max_ejection_percent=100, uneject_on_passed_probe=True),
            },
        ]
    )
    enforced = "outlier_detection.ejections_enforced_total"
    for name in (stays, returns):
        rig.envoy.wait_until(lambda: rig.send(name, 3) and rig.stat(name, enforced))  # noqa: B023
    probes = a.probes
    rig.envoy.wait_until(lambda: rig.ejected(returns) == 0)
    b.status = 200
    rig.envoy.wait_until(lambda: rig.send(returns, 10) == {"b": 10})
    rig.envoy.wait_until(lambda: a.probes >= probes + 5)
    assert rig.ejected(stays) == 1


@pytest.mark.feature(
    "Active health checks", "with slow_start, a target that passes its probes again begins with a small share"
)
@pytest.mark.feature(
    "Passive health checks", "an ejected target returns with its whole share at once, also with slow_start"
)
def test_a_returned_target_begins_with_a_small_share(rig: ServedUpstreams, backends: Backends) -> None:
    """One that was ejected does not: Envoy begins a window for new targets and for those that pass probes again."""
    a, b, c, d = backends
    window = {"slow_start": {"window": "4s"}}
    a.healthy, c.status = False, 500
    passive = checks(ejection_time="1s", max_ejection_percent=50)
    probed, ejected = rig.serve_all(
        [
            {"targets": [target(a), target(b)], "health_checks": {"active": ACTIVE}, **window},
            {"targets": [target(c), target(d)], "health_checks": passive, **window},
        ]
    )
    new = time.monotonic()
    rig.envoy.wait_until(lambda: time.monotonic() - new > 4.2, what="the end of the window that all of them begin with")
    rig.envoy.wait_until(lambda: rig.send(ejected, 10) and rig.ejected(ejected) == 1)
    a.healthy, c.status = True, 200
    shares: list[int] = []
    rig.envoy.wait_until(lambda: not shares.append(rig.send(probed, 100)["a"]) and shares[-1] >= 45)
    rig.envoy.wait_until(lambda: rig.ejected(ejected) == 0)
    first = next(share for share in shares if share)
    assert first <= 33, shares
    assert any(first < share < 45 for share in shares), shares
    c.status = 500
    rig.envoy.wait_until(lambda: rig.send(ejected, 10) and rig.ejected(ejected) == 1)
    c.status = 200
    rig.envoy.wait_until(lambda: rig.send(ejected, 10)["c"])
    assert 40 <= rig.send(ejected, 100)["c"] <= 60
