"""Pairs of settings that once caused outages, each provoked again: what goes on being served, and what does not."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from served_upstreams import AT_ONCE, ServedUpstreams, target
from told import lints

from xds_server.testing import Answer, Backend, Backends
from xds_server.upstreams.model import Upstream

pytestmark = pytest.mark.envoy

ACTIVE = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}
PASSIVE = {"interval": "50ms", "ejection_time": "60s"}
BOTH = {"active": ACTIVE, "passive": PASSIVE}
BAD_URL = "/status/500"
LISTENERS = ("public", "static")


@pytest.fixture(scope="module")
def rig() -> Iterator[ServedUpstreams]:
    """`long`: its answer takes longer than Envoy's own limit of 15 s, while the tests of this file run."""
    with (
        Backend("slow") as slow,
        ServedUpstreams("outage", always=[{"name": "long", "targets": [target(slow)]}]) as rig,
    ):
        rig.put()
        yield rig


class LongAnswers:
    """Requests for such answers under way, through each kind of listener."""

    def __init__(self, rig: ServedUpstreams) -> None:
        self.answers: dict[str, Answer] = {}
        self._threads = [threading.Thread(target=self._ask, args=(rig, each), daemon=True) for each in LISTENERS]
        for thread in self._threads:
            thread.start()

    def _ask(self, rig: ServedUpstreams, listener: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            self.answers[listener] = rig.ask("long", "/stream?chunks=33&every=0.5", listener=listener, timeout=60)

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.fixture(scope="module", autouse=True)
def long_answers(rig: ServedUpstreams) -> LongAnswers:
    return LongAnswers(rig)


@pytest.mark.feature(
    "Passive health checks", "one URL that fails everywhere takes no upstream down, nor an only target"
)
@pytest.mark.parametrize("targets", [1, 2, 3])
@pytest.mark.parametrize("active", [False, True], ids=["passive", "both"])
def test_a_bad_url(rig: ServedUpstreams, backends: Backends, active: bool, targets: int) -> None:
    given = [target(backend) for backend in backends][:targets]
    name = rig.serve(given, health_checks=BOTH if active else {"passive": PASSIVE})
    most = targets // 2 if active else targets
    assert rig.send(name, 10 * targets, BAD_URL)["503"] == 0
    rig.envoy.wait_until(lambda: rig.ejected(name) == most, 10, f"{most} ejections")
    served = rig.send(name, 12 * targets)
    assert sum(served[backend.name] for backend in backends) == 12 * targets, "every other URL is answered"


@pytest.mark.feature(
    "Passive health checks", "where all targets may be ejected, one bad URL takes an upstream down; a lint says so"
)
@pytest.mark.parametrize("how", ["fail", "cap", "override"])
@pytest.mark.feature("Lints", "one-bad-url: where all targets may be ejected, one bad URL takes an upstream down")
def test_a_bad_url_where_all_may_be_ejected(rig: ServedUpstreams, backends: Backends, how: str) -> None:
    a, b, *_ = backends
    fields: dict[str, Any] = {"targets": [target(a), target(b)], "health_checks": {"passive": PASSIVE}}
    if how == "fail":
        fields["on_all_unhealthy"] = "fail"
    elif how == "cap":
        fields["health_checks"] = {"active": ACTIVE, "passive": {**PASSIVE, "max_ejection_percent": 100}}
    else:
        fields["targets"] = [target(a)]
        fields["health_checks"] = {"active": ACTIVE, "passive": {**PASSIVE, "max_ejection_percent": 99}}
        fields["envoy"] = {**AT_ONCE, "outlier_detection": {"always_eject_one_host": True}}
    name = rig.serve(**fields)
    count = len(fields["targets"])
    rig.envoy.wait_until(lambda: rig.send(name, 12, BAD_URL) and rig.ejected(name) == count)
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"503": 10})
    assert "one-bad-url" in lints(**fields)


@pytest.mark.feature(
    "Localities and failover", "passive checks alone fail over once all targets of a priority are ejected"
)
def test_failover_by_passive_checks_alone(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    fields = {"targets": [target(a), target(b), target(c, priority=1)], "health_checks": {"passive": PASSIVE}}
    name = rig.serve(**fields)
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"c": 10})
    assert lints(**fields) == []


@pytest.mark.feature(
    "Passive health checks", "one of two targets down by probe, the other ejected: 503, or with send-all both"
)
@pytest.mark.parametrize(
    ("more", "outcome", "codes"),
    [({}, {"503": 20}, ["last-target-ejected"]), ({"on_all_unhealthy": "send-all"}, {"a": 10, "b": 10}, [])],
    ids=["fail", "send-all"],
)
@pytest.mark.feature("Lints", "last-target-ejected: one target fails its probes and the other is ejected")
def test_one_target_down_and_the_other_ejected(
    rig: ServedUpstreams, backends: Backends, more: Any, outcome: dict[str, int], codes: list[str]
) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b)], "health_checks": BOTH, **more}
    name = rig.serve(**fields)
    a.healthy = False
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC", b.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"b": 10})
    rig.envoy.wait_until(lambda: rig.send(name, 6, BAD_URL) and rig.ejected(name) == 1)
    rig.envoy.wait_until(lambda: rig.send(name, 20) == outcome, 10, str(outcome))
    assert rig.health(name) == {a.address: "FAILED_ACTIVE_HC", b.address: "EJECTED"}
    assert lints(**fields) == codes
    a.healthy = True
    rig.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "EJECTED"})
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"a": 10}, 10, "one of them to be back")


@pytest.mark.feature(
    "Passive health checks", "of three targets one down by probe and one ejected, the last serves everything"
)
def test_one_of_three_down_and_one_ejected(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, _ = backends
    name = rig.serve([target(a), target(b), target(c)], health_checks=BOTH)
    a.healthy = False
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC", b.address: "HEALTHY", c.address: "HEALTHY"})
    rig.envoy.wait_until(lambda: rig.send(name, 20, BAD_URL) and rig.ejected(name) == 1)
    rig.envoy.wait_until(lambda: rig.send(name, 20) in ({"b": 20}, {"c": 20}), 10, "the last of them")


@pytest.mark.feature(
    "Target states", "send-all sends to failing targets when none is healthy, but to none taken out by hand"
)
def test_send_all_and_what_was_taken_out(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, d = backends
    a.healthy = False
    targets = [target(a), target(b, state="draining"), target(c, weight=0), target(d, state="unhealthy", priority=1)]
    name = rig.serve(targets, health_checks={"active": ACTIVE}, on_all_unhealthy="send-all")
    rig.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC"})
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"a": 10})
    assert [backend.count for backend in (b, c, d)] == [0, 0, 0]


@pytest.mark.feature("Gateways", "no request reaches the control plane through a listener, and an unknown host is 404")
@pytest.mark.parametrize("listener", LISTENERS)
def test_hosts_that_are_no_upstream(rig: ServedUpstreams, listener: str) -> None:
    for host in (
        "xds-server.internal",
        "XDS-SERVER.INTERNAL",
        "xds-server.internal:80",
        "xds-server.internal.",
        "nobody",
    ):
        assert rig.ask(host, listener=listener).status == 404, host
    with pytest.raises(ValidationError, match="reserved"):
        Upstream.model_validate({"name": "xds-server.internal"})


@pytest.mark.feature(
    "Limits, retries and timeouts", "an answer of more than 15 s is not cut, by either kind of listener"
)
def test_an_answer_longer_than_envoys_own_limit(long_answers: LongAnswers) -> None:
    """It has been under way since this file's first test."""
    long_answers.wait()
    statuses = {listener: answer.status for listener, answer in long_answers.answers.items()}
    assert statuses == {"public": 200, "static": 200}
    for answer in long_answers.answers.values():
        assert answer.body.decode().splitlines() == [f"slow {number}" for number in range(33)]
