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
    "Passive health checks", "an ejected target returns with its whole share at once, also with slow_start"
)
def test_an_ejected_target_returns_with_its_whole_share(rig: ServedUpstreams, backends: Backends) -> None:
    """Envoy begins a window for new targets, and for those that pass their probes again."""
    a, b, *_ = backends
    passive = checks(ejection_time="1s", max_ejection_percent=50)
    name = rig.serve([target(a), target(b)], health_checks=passive, slow_start={"window": "3s"})
    old = time.monotonic() + 3
    rig.envoy.wait_until(lambda: time.monotonic() > old, what="the end of the window that both begin with")
    a.status = 500
    rig.envoy.wait_until(lambda: rig.send(name, 10) and rig.ejected(name) == 1)
    a.status = 200
    rig.envoy.wait_until(lambda: rig.send(name, 10)["a"])
    assert 40 <= rig.send(name, 100)["a"] <= 60
