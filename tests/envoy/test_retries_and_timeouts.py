"""Tries and times: what is retried and what is not, and how long everything may take, as the real Envoy carries it out."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from at_once import at_once, statuses
from raw_server import connect, read_all
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, request

pytestmark = pytest.mark.envoy

SECTION = "Limits, retries and timeouts"
LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])
UPSTREAMS: dict[str, dict[str, Any]] = {
    "on-status": {"retries": {"statuses": [503, 429]}},
    "each-try": {"retries": {"on": ["gateway-error"], "per_try_timeout": "300ms"}},
    "default-on": {"retries": {}},
    "on-5xx": {"retries": {"on": ["5xx"]}},
    "patient": {
        "retries": {"attempts": 2, "on": ["5xx"], "back_off": {"base_interval": "500ms", "max_interval": "500ms"}}
    },
    "twice-again": {"retries": {"attempts": 2, "on": ["5xx"]}},
    "in-time": {"retries": {"attempts": 3, "on": ["5xx"]}, "timeout": "1500ms"},
    "idle": {"idle_timeout": "800ms"},
    "not-idle": {},
}


@pytest.fixture(scope="module")
def started() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture
def backends(started: Backends) -> Iterator[Backends]:
    """`a` is the one that a test makes fail; it gets most first tries."""
    started.reset()
    yield started
    started["a"].recover()
    started["a"].delay = 0


@pytest.fixture(scope="module")
def unanswering() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def envoy(started: Backends, unanswering: int) -> Iterator[TranslatedEnvoy]:
    a, b = ({"host": "127.0.0.1", "port": backend.port} for backend in started)
    # The next target in turn is often the same again: only a retry that avoids it is sure to help.
    uneven: dict[str, Any] = {"algorithm": "weighted-round-robin", "targets": [{**a, "weight": 3}, b]}
    with socket.socket() as closed, TranslatedEnvoy() as envoy:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        refusing = {"host": "127.0.0.1", "port": closed.getsockname()[1], "weight": 3}
        upstreams = [{"name": name, **uneven, **fields} for name, fields in UPSTREAMS.items()]
        upstreams += [{**uneven, "name": "refused", "targets": [refusing, b], "retries": {}}]
        upstreams += [{**uneven, "name": "refused-once", "targets": [refusing, b]}]
        slow = {"targets": [{"host": "127.0.0.1", "port": unanswering}], "connect_timeout": "300ms"}
        upstreams += [{"name": "unanswering", **slow}]
        envoy.serve_with_gateways({"upstreams": upstreams})
        yield envoy


def asked(envoy: TranslatedEnvoy, host: str, n: int, listener: str, **more: Any) -> list[int]:
    return [envoy.ask(host, listener=listener, **more).status for _ in range(n)]


@LISTENERS
@pytest.mark.feature(SECTION, "a refused connection is retried on another target, by default")
def test_a_refused_connection_is_retried(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    assert asked(envoy, "refused", 8, listener) == [200] * 8
    assert backends["b"].count == 8
    assert 503 in asked(envoy, "refused-once", 8, listener)


@LISTENERS
@pytest.mark.feature(SECTION, "the statuses that are named are retried on another target, and no others")
def test_named_statuses_are_retried(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    for status in (503, 429):
        backends["a"].status = status
        assert asked(envoy, "on-status", 8, listener) == [200] * 8
    backends["a"].status = 500
    assert 500 in asked(envoy, "on-status", 8, listener)


@pytest.mark.feature(SECTION, "a try that takes longer than per_try_timeout is given up for another target")
def test_a_slow_try_is_given_up_for_another_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    backends["a"].delay = 20
    answers = at_once(envoy.port("public"), "each-try", 3)
    assert {answer.backend for answer in answers} == {"b"}
    assert backends["a"].count > 0
    backends["a"].delay = 0
    # Once an answer has begun, the time for the try does not cut it.
    assert envoy.ask("each-try", "/stream?chunks=6&every=0.1").status == 200


@pytest.mark.feature(SECTION, "per_try_timeout has no effect on a static listener, where timeout is that of each try")
def test_a_static_listener_has_no_time_for_each_try(envoy: TranslatedEnvoy, backends: Backends) -> None:
    backends["a"].delay = backends["b"].delay = 1
    try:
        assert asked(envoy, "each-try", 1, "static") == [200]
        assert asked(envoy, "each-try", 1, "public") == [504]
    finally:
        backends["b"].delay = 0


@LISTENERS
@pytest.mark.feature(SECTION, "a POST that a target failed is sent again only where `on` says so")
def test_what_a_target_has_done_is_not_done_again_unasked(
    envoy: TranslatedEnvoy, backends: Backends, listener: str
) -> None:
    backends["a"].status = backends["b"].status = 500
    try:
        assert asked(envoy, "default-on", 4, listener, method="POST") == [500] * 4
        assert sum(backends.counts.values()) == 4
        assert asked(envoy, "on-5xx", 4, listener, method="POST") == [500] * 4
        assert sum(backends.counts.values()) == 4 + 8
    finally:
        backends["b"].status = 200


@LISTENERS
@pytest.mark.feature(SECTION, "what fails is tried again as often as `attempts` says")
def test_there_are_so_many_tries(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    backends["a"].status = backends["b"].status = 500
    try:
        assert asked(envoy, "twice-again", 4, listener) == [500] * 4
    finally:
        backends["b"].status = 200
    assert sum(backends.counts.values()) == 4 * 3


@pytest.mark.feature(
    SECTION, "timeout is that of all tries together; on a static listener, which has no other, that of each"
)
@pytest.mark.parametrize(("listener", "status"), [("public", 504), ("static", 500)])
def test_all_tries_share_the_timeout(envoy: TranslatedEnvoy, backends: Backends, listener: str, status: int) -> None:
    """Four tries that take nearly half of it each."""
    for backend in backends:
        backend.status, backend.delay = 500, 0.6
    try:
        assert asked(envoy, "in-time", 1, listener) == [status]
    finally:
        backends["b"].status, backends["b"].delay = 200, 0


@LISTENERS
@pytest.mark.feature(SECTION, "retries wait as long as back_off says")
def test_retries_wait(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    backends["a"].status = backends["b"].status = 500
    try:
        begun = time.monotonic()
        answers = at_once(envoy.port(listener), "patient", 6)
        took = time.monotonic() - begun
    finally:
        backends["b"].status = 200
    assert statuses(answers) == [500] * 6
    # The last of six that wait twice, up to half a second each. By default none would wait longer than 75 ms in all.
    assert took > 0.25


@LISTENERS
@pytest.mark.feature(SECTION, "a connection that is not opened within connect_timeout is given up")
def test_a_connection_that_takes_too_long_is_given_up(envoy: TranslatedEnvoy, listener: str) -> None:
    begun = time.monotonic()
    answer = envoy.ask("unanswering", listener=listener)
    assert time.monotonic() - begun < 4, "by default it may take 5 s"
    assert answer.status == 503
    assert b"timeout" in answer.body
    assert envoy.envoy.stat("cluster.unanswering.upstream_cx_connect_timeout") >= 1


@pytest.mark.feature(SECTION, "an answer that stands still for longer than idle_timeout is cut; one that flows is not")
def test_an_answer_that_stands_still_is_cut(envoy: TranslatedEnvoy, backends: Backends) -> None:
    assert request(envoy.port("public"), "idle", "/stream?chunks=6&every=0.2").status == 200
    with connect(envoy.port("public")) as connection:
        connection.sendall(b"GET /stream?chunks=2&every=3 HTTP/1.1\r\nhost: idle\r\n\r\n")
        answer = read_all(connection)  # until Envoy ends the connection: a whole answer would leave it open
    assert b" 0\n" in answer
    assert not answer.endswith(b"\r\n0\r\n\r\n")
    backends["a"].delay = backends["b"].delay = 1.6
    try:
        assert asked(envoy, "idle", 1, "public") == [504]
        assert asked(envoy, "not-idle", 1, "public") == [200]
    finally:
        backends["b"].delay = 0
