"""Ejection by real requests that fail: what counts, for how long a target is left alone, and how many may be at once."""

import time
from contextlib import ExitStack
from typing import Any

import pytest
from probed_servers import Hangup
from served_upstreams import ServedUpstreams, target
from told import lints

from xds_server.testing import Backend, Backends, Load

pytestmark = pytest.mark.envoy

SECTION = "Passive health checks"
FOREVER = {"interval": "50ms", "ejection_time": "60s"}


def checks(**passive: Any) -> dict[str, Any]:
    return {"passive": {**FOREVER, **passive}}


def ejects(rig: ServedUpstreams, backend: Any, requests: int = 4, *, fields: Any = None, **passive: Any) -> bool:
    """Whether so many requests to its only target have it ejected."""
    name = rig.serve([target(backend)], health_checks=checks(**passive), **(fields or {}))
    rig.send(name, requests)
    ejected = rig.ejected(name) == 1
    assert ejected == (rig.stat(name, "outlier_detection.ejections_enforced_total") == 1)
    return ejected


@pytest.mark.feature(
    SECTION, "a target is ejected after so many errors in a row, and one good answer begins the count anew"
)
def test_errors_in_a_row(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    name = rig.serve([target(a)], health_checks=checks(consecutive_errors=6))
    for status, requests in ((500, 5), (200, 1), (503, 5)):
        a.status = status
        rig.send(name, requests)
        assert not rig.ejected(name)
    rig.send(name, 1)
    assert rig.ejected(name) == 1

    a.status = 500
    name = rig.serve([target(a), target(b)], health_checks=checks(consecutive_errors=5))
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"b": 10})


@pytest.mark.feature(SECTION, "connections that are refused count as errors")
def test_refused_connections_are_errors(rig: ServedUpstreams, backends: Backends) -> None:
    backends["a"].close()
    assert ejects(rig, backends["a"], consecutive_errors=3)


@pytest.mark.feature(SECTION, "consecutive_errors: 0 counts none")
def test_errors_in_a_row_can_be_left_uncounted(rig: ServedUpstreams, backends: Backends) -> None:
    backends["a"].status = 500
    assert not ejects(rig, backends["a"], 20, consecutive_errors=0, consecutive_gateway_errors=1)


@pytest.mark.feature(SECTION, "with default settings one failing target of two is ejected, and both if both fail")
def test_two_targets_are_not_too_few(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    a.status = 500
    name = rig.serve([target(a), target(b)], health_checks={"passive": {}})
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"b": 10})
    assert rig.ejected(name) == 1
    b.status = 500
    rig.envoy.wait_until(lambda: rig.send(name, 10) and rig.ejected(name) == 2)


@pytest.mark.feature(SECTION, "no more than max_ejection_percent of the targets are ejected")
@pytest.mark.parametrize(("percent", "number"), [(0, 0), (25, 1), (50, 2), (100, 4)])
def test_only_so_many_are_ejected(rig: ServedUpstreams, backends: Backends, percent: int, number: int) -> None:
    for backend in backends:
        backend.status = 500
    passive = checks(consecutive_errors=2, max_ejection_percent=percent)
    name = rig.serve([target(backend) for backend in backends], health_checks=passive)
    detected = "outlier_detection.ejections_detected_consecutive_5xx"
    # Each of them has failed enough, whether or not it could be ejected.
    rig.envoy.wait_until(lambda: rig.send(name, 20) and rig.stat(name, detected) >= 4)
    assert rig.ejected(name) == number
    assert (rig.stat(name, "outlier_detection.ejections_overflow") > 0) == (number < 4)


@pytest.mark.feature(
    SECTION, "gateway errors in a row (502, 503, 504 and no connection) are counted apart from other errors"
)
def test_gateway_errors_in_a_row(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c, d = backends
    a.status, b.status, c.status = 502, 504, 500
    d.close()
    passive = {"consecutive_errors": 0, "consecutive_gateway_errors": 3}
    assert [ejects(rig, backend, **passive) for backend in backends] == [True, True, False, True]


@pytest.mark.feature(SECTION, "connections in a row that cannot be opened are counted apart from answers")
@pytest.mark.feature(
    SECTION,
    "counted apart, timeouts are half of a target's requests at most: failure_percentage sees them from 50 down",
)
@pytest.mark.feature("Lints", "timeouts-uncounted: with consecutive_local_errors, what times out ejects no target")
def test_local_errors_in_a_row(rig: ServedUpstreams, backends: Backends) -> None:
    refusing, failing, slow, _ = backends
    refusing.close()
    failing.status = 503
    slow.delay = 5
    local = {"consecutive_errors": 1000, "consecutive_local_errors": 3}
    answers = {"consecutive_errors": 3, "consecutive_local_errors": 1000}
    with Hangup() as broken:
        for backend, fields, by_local, by_answers in (
            (refusing, {}, True, False),
            (failing, {}, False, True),
            # Each of these begins with a connection that could be opened, which begins the counting anew.
            (broken, {}, False, False),
            (slow, {"timeout": "50ms"}, False, False),
        ):
            assert ejects(rig, backend, fields=fields, **local) == by_local
            assert ejects(rig, backend, fields=fields, **answers) == by_answers
            # Nor is that connection lost on the shares: what fails behind it is half of all.
            wholly = by_local or by_answers
            upstreams = [by_share(backend, threshold, **fields) for threshold in (40, 85)]
            low, high = rig.serve_all(upstreams)
            wanted = {low: 1, high: int(wholly)}
            rig.envoy.wait_until(lambda: {n: rig.send(n, 5) and rig.ejected(n) for n in wanted} == wanted)  # noqa: B023
            assert lints(**upstreams[1]) == ["ejection-of-the-only-target", "timeouts-uncounted"]
            assert lints(**upstreams[0]) == ["ejection-of-the-only-target"]


def by_share(backend: Any, threshold: int, **fields: Any) -> dict[str, Any]:
    """An upstream whose only target is ejected for its share of failures, and connections are counted apart."""
    shares = {"threshold": threshold, "minimum_hosts": 1, "request_volume": 5}
    in_a_row = {"consecutive_errors": 1000, "consecutive_local_errors": 1000}
    passive = checks(**in_a_row, failure_percentage=shares, interval="500ms")
    return {"targets": [target(backend)], "health_checks": passive, **fields}


@pytest.mark.feature(SECTION, "error_statuses, 429 for example, say which answers are errors, instead of all 5xx")
def test_statuses_that_are_errors(rig: ServedUpstreams, backends: Backends) -> None:
    busy, missing, failing, refusing = backends
    busy.status, missing.status, failing.status = 429, 404, 500
    refusing.close()
    expected = {
        (): [False, False, True, True],
        (429,): [True, False, False, True],
        (404, 429, "500-599"): [True, True, True, True],
        ("400-428", 501): [False, True, False, True],
    }
    for statuses, ejected in expected.items():
        found = [ejects(rig, each, consecutive_errors=3, error_statuses=list(statuses)) for each in backends]
        assert found == ejected, statuses


@pytest.mark.feature(SECTION, "an ejected target is used again after its ejection_time")
def test_an_ejected_target_returns(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    a.status = 500
    passive = {"consecutive_errors": 3, "interval": "50ms", "ejection_time": "500ms"}
    name = rig.serve([target(a), target(b)], health_checks={"passive": passive})
    began = time.monotonic()
    rig.envoy.wait_until(lambda: rig.send(name, 10) and rig.ejected(name) == 1)
    a.status = 200
    rig.envoy.wait_until(lambda: rig.ejected(name) == 0)
    assert time.monotonic() - began >= 0.5
    rig.envoy.wait_until(lambda: rig.send(name, 10) == {"a": 5, "b": 5})


@pytest.mark.feature(SECTION, "each ejection of a target is longer than the one before it, up to max_ejection_time")
def test_ejections_grow_up_to_a_limit(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    a.status = b.status = 500
    passive = {"consecutive_errors": 2, "interval": "300ms", "ejection_time": "300ms"}
    growing, limited = rig.serve_all(
        [
            {"targets": [target(a)], "health_checks": {"passive": passive}},
            {"targets": [target(b)], "health_checks": {"passive": {**passive, "max_ejection_time": "300ms"}}},
        ]
    )
    total = "outlier_detection.ejections_enforced_total"
    with Load(rig.port(), growing, rate=100), Load(rig.port(), limited, rate=100):
        rig.envoy.wait_until(lambda: rig.stat(limited, total) >= 8, 30)
        # The eighth would begin after 1 + 2 + … + 7 times as long.
        assert 2 <= rig.stat(growing, total) <= 6


@pytest.mark.feature(SECTION, "max_ejection_time_jitter has ejected targets return at different times")
def test_ejected_targets_do_not_return_at_once(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        backends = [stack.enter_context(Backend(str(number), status=500)) for number in range(8)]
        passive = {"consecutive_errors": 1, "interval": "50ms", "ejection_time": "1s", "max_ejection_time_jitter": "2s"}
        name = rig.serve([target(backend) for backend in backends], health_checks={"passive": passive})
        rig.envoy.wait_until(lambda: rig.send(name, 8) and rig.ejected(name) == 8)
        rig.envoy.wait_until(lambda: rig.ejected(name) < 8)
        first = time.monotonic()
        rig.envoy.wait_until(lambda: rig.ejected(name) == 0)
        assert time.monotonic() - first > 0.3


@pytest.mark.feature(SECTION, "targets of plain TCP are ejected for connections that fail")
@pytest.mark.parametrize(
    "passive",
    [
        {"consecutive_errors": 3},
        {"consecutive_errors": 0, "consecutive_local_errors": 3},
        {
            "consecutive_errors": 0,
            "failure_percentage": {"threshold": 50, "minimum_hosts": 2, "request_volume": 3},
            "interval": "500ms",
        },
        {
            "consecutive_errors": 0,
            "success_rate": {"stdev_factor": 900, "minimum_hosts": 2, "request_volume": 3},
            "interval": "500ms",
        },
    ],
    ids=["errors", "local-errors", "failure-percentage", "success-rate"],
)
def test_plain_tcp(rig: ServedUpstreams, backends: Backends, passive: dict[str, Any]) -> None:
    a, b = backends["a"], backends["b"]
    a.close()
    name = rig.serve([target(a), target(b)], protocol="tcp", health_checks=checks(**passive))
    rig.envoy.wait_until(lambda: connect(rig, name, 6) and rig.ejected(name) == 1)
    assert rig.health(name)[a.address] == "EJECTED"
    rig.envoy.wait_until(lambda: connect(rig, name, 10) == ["b"] * 10)


def connect(rig: ServedUpstreams, name: str, times: int) -> list[str]:
    """Opens so many connections through the TCP gateway: who answered on each, or nothing."""
    found = []
    for _ in range(times):
        try:
            found.append(rig.ask(name, listener=name).backend)
        except (OSError, EOFError):
            found.append("")
    return found
