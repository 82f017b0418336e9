"""Ejection by real requests that fail: what counts, for how long a target is left alone, and how many may be at once."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Self

import pytest
from recording_server import RecordingServer
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backend, Backends, Load

pytestmark = pytest.mark.envoy

SECTION = "Passive health checks"
FOREVER = {"interval": "50ms", "ejection_time": "60s"}


@pytest.fixture(scope="module")
def rig() -> Iterator[ServedUpstreams]:
    with ServedUpstreams("passive") as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d") as started:
        yield started


def at(server: Any, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, **more}


def checks(**passive: Any) -> dict[str, Any]:
    return {"passive": {**FOREVER, **passive}}


def ejects(rig: ServedUpstreams, backend: Any, requests: int = 10, *, fields: Any = None, **passive: Any) -> bool:
    """Whether so many requests to its only target have it ejected."""
    name = rig.serve([at(backend)], health_checks=checks(**passive), **(fields or {}))
    rig.send(name, requests)
    ejected = rig.ejected(name) == 1
    assert ejected == (rig.stat(name, "outlier_detection.ejections_enforced_total") == 1)
    return ejected


@pytest.mark.feature(
    SECTION, "a target is ejected after so many errors in a row, and one good answer begins the count anew"
)
def test_errors_in_a_row(rig: ServedUpstreams, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    name = rig.serve([target(a)], health_checks=checks(consecutive_errors=5))
    for status, requests in ((500, 4), (200, 1), (503, 4)):
        a.status = status
        rig.send(name, requests)
        assert not rig.ejected(name)
    rig.send(name, 1)
    assert rig.ejected(name) == 1

    a.status = 500
    name = rig.serve([target(a), target(b)], health_checks=checks(consecutive_errors=5))
    a.reset()
    rig.send(name, 30)
    assert 5 <= a.count <= 8, "what its worker sends before it is told"
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
def test_local_errors_in_a_row(rig: ServedUpstreams, backends: Backends) -> None:
    refusing, failing, slow, _ = backends
    refusing.close()
    failing.status = 503
    slow.delay = 5
    local = {"consecutive_errors": 1000, "consecutive_local_errors": 3}
    answers = {"consecutive_errors": 3, "consecutive_local_errors": 1000}
    shares = {"threshold": 50, "minimum_hosts": 1, "request_volume": 5}
    with Hangup() as broken:
        for backend, fields, by_local, by_answers in (
            (refusing, {}, True, False),
            (failing, {}, False, True),
            # Each of these begins with a connection that could be opened, which begins the counting anew.
            (broken, {}, False, False),
            (slow, {"timeout": "20ms"}, False, False),
        ):
            assert ejects(rig, backend, fields=fields, **local) == by_local
            assert ejects(rig, backend, fields=fields, **answers) == by_answers
            passive = checks(**local, failure_percentage=shares, max_ejection_percent=100)
            name = rig.serve([at(backend)], health_checks=passive, **fields)
            rig.envoy.wait_until(lambda: rig.send(name, 5) and rig.ejected(name))  # noqa: B023


@pytest.mark.feature(SECTION, "error_statuses say which answers are errors, instead of all 5xx")
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
    passive = {"consecutive_errors": 2, "interval": "150ms", "ejection_time": "150ms"}
    growing, limited = rig.serve_all(
        [
            {"targets": [target(a)], "health_checks": {"passive": passive}},
            {"targets": [target(b)], "health_checks": {"passive": {**passive, "max_ejection_time": "150ms"}}},
        ]
    )
    total = "outlier_detection.ejections_enforced_total"
    with Load(rig.port(), growing, rate=100), Load(rig.port(), limited, rate=100):
        rig.envoy.wait_until(lambda: rig.stat(limited, total) >= 10, 20)
        # The tenth would begin after 1 + 2 + … + 9 times as long.
        assert 2 <= rig.stat(growing, total) <= 7


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


def shares(rig: ServedUpstreams, servers: list[RecordingServer], passive: dict[str, Any]) -> str:
    """Serves these and sends requests through five of its intervals."""
    name = rig.serve(list(map(at, servers)), health_checks={"passive": {"consecutive_errors": 0, **passive}})
    with Load(rig.port(), name, rate=60 * len(servers), connections=2) as load:
        load.wait_for(12 * 5 * len(servers))
    return name


@pytest.mark.feature(SECTION, "failure_percentage ejects the targets that fail too large a share of their requests")
def test_the_share_of_failures(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        often, seldom, never = (
            stack.enter_context(RecordingServer(status=cycle(statuses)))
            for statuses in ([500, 200, 503], [200, 200, 500], [200])
        )
        share = {"threshold": 50, "minimum_hosts": 3, "request_volume": 5}
        judged = {"interval": "200ms", "ejection_time": "60s"}
        for changed, ejected in (
            ({}, 1),
            ({"threshold": 90}, 0),
            ({"threshold": 20}, 2),
            ({"minimum_hosts": 4}, 0),
            ({"request_volume": 1000}, 0),
        ):
            name = shares(rig, [often, seldom, never], {**judged, "failure_percentage": {**share, **changed}})
            assert rig.ejected(name) == ejected, changed
            expected = [often.address, seldom.address][:ejected]
            assert all(rig.health(name)[address] == "EJECTED" for address in expected)


@pytest.mark.feature(SECTION, "success_rate ejects the target that fails far more of its requests than the others")
def test_the_rate_of_success(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        half = stack.enter_context(RecordingServer(status=cycle([500, 200])))
        servers = [half, *(stack.enter_context(RecordingServer()) for _ in range(4))]
        judged = {"interval": "200ms", "ejection_time": "60s"}
        rate = {"stdev_factor": 1500, "request_volume": 5}
        for changed, ejected in (
            ({}, 1),
            ({"stdev_factor": 2100}, 0),  # one of five cannot be more than 2 standard deviations below
            ({"minimum_hosts": 6}, 0),
            ({"request_volume": 1000}, 0),
        ):
            name = shares(rig, servers, {**judged, "success_rate": {**rate, **changed}})
            assert rig.ejected(name) == ejected, changed
            assert (rig.health(name)[half.address] == "EJECTED") == bool(ejected)


@pytest.mark.feature(SECTION, "no target is ejected for being worse than the others unless success_rate is written")
def test_statistics_eject_nobody_unasked(rig: ServedUpstreams, backends: Backends) -> None:
    with RecordingServer(status=cycle([500, 200])) as half, Backend("e") as refusing:
        refusing.close()
        judged = {"interval": "1500ms", "ejection_time": "60s"}
        targets = [at(each) for each in backends]
        answers, local = rig.serve_all(
            [
                {"targets": [*targets, at(half)], "health_checks": {"passive": judged}},
                {
                    "targets": [*targets, at(refusing)],
                    "health_checks": {"passive": {**judged, "consecutive_local_errors": 1_000_000}},
                },
            ]
        )
        seen = {answers: "ejections_detected_success_rate", local: "ejections_detected_local_origin_success_rate"}
        for name, detected in seen.items():
            # It sees that one is worse than the others, and leaves it at that.
            rig.envoy.wait_until(
                lambda: rig.send(name, 500, connections=4) and rig.stat(name, f"outlier_detection.{detected}"),  # noqa: B023
                20,
            )
        assert rig.ejected(answers) == rig.ejected(local) == 0


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
    ],
    ids=["errors", "local-errors", "failure-percentage"],
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


class Hangup:
    """Takes a request and closes the connection."""

    def __init__(self) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
