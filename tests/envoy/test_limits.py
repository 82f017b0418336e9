"""Circuit breakers: what is over a limit is refused at once, what may wait does, as the real Envoy carries them out."""

import contextlib
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from at_once import at_once, statuses
from raw_server import connect
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backend, Backends, Load, send
from xds_server.upstreams.lint import lint
from xds_server.upstreams.model import Upstream

pytestmark = pytest.mark.envoy

LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])

LIMITS: dict[str, dict[str, Any]] = {
    "one-request": {"limits": {"max_requests": 1}},
    "no-request": {"limits": {"max_requests": 0}},
    "one-connection": {"limits": {"max_connections": 1}},
    "no-connection": {"limits": {"max_connections": 0}},
    "one-waits": {"limits": {"max_connections": 1, "max_pending_requests": 1}},
    "none-waits": {"limits": {"max_pending_requests": 0}},
    "none-waits-http2": {"limits": {"max_pending_requests": 0}, "protocol": "http2"},
    "per-target": {"limits": {"max_connections_per_target": 2}},
    "no-tcp-connection": {"limits": {"max_connections": 0}, "protocol": "tcp"},
}
RETRIES: dict[str, tuple[dict[str, Any], range]] = {
    # Four requests fail together and would be retried together: so many of them are.
    "default": ({}, range(3, 4)),
    "no-retries": ({"max_retries": 0}, range(0, 1)),
    "one-retry": ({"max_retries": 1}, range(1, 2)),
    "no-budget": ({"retry_budget": {"percent": 0, "min_concurrency": 0}}, range(0, 1)),
    "small-budget": ({"retry_budget": {"percent": 1, "min_concurrency": 1}}, range(1, 2)),
    # Of the requests that are under way when one fails; it is not, between its tries.
    "whole-budget": ({"retry_budget": {"percent": 100, "min_concurrency": 0}}, range(2, 5)),
}
"""Limits, and how many retries they let pass."""
CROWD = 1030
"""A few more than the 1024 connections and requests that Envoy has as limits where nothing is said."""


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a") as started:
        yield started


@pytest.fixture
def slow(backends: Backends) -> Iterator[Backends]:
    """The target takes half a second for each answer."""
    backends.reset()
    backends["a"].delay = 0.5
    yield backends
    backends["a"].delay = 0


@pytest.fixture(scope="module")
def failing() -> Iterator[Backends]:
    """A target for each limit of retries, which takes half a second to fail."""
    with Backends(*RETRIES) as started:
        for backend in started:
            backend.delay, backend.status = 0.5, 500
        yield started


@pytest.fixture(scope="module")
def crowded() -> Iterator[Backend]:
    """A target that keeps every request for as long as it runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * CROWD), hard), hard))
    with Backend("crowded", delay=600) as started:
        yield started


def upstream(name: str, *targets: Backend, **fields: Any) -> dict[str, Any]:
    return {"name": name, "targets": [{"host": "127.0.0.1", "port": target.port} for target in targets], **fields}


@pytest.fixture(scope="module")
def envoy(backends: Backends, failing: Backends, crowded: Backend) -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        retries = {"attempts": 1, "on": ["5xx"]}
        upstreams = [upstream(name, backends["a"], **fields) for name, fields in LIMITS.items()]
        upstreams += [
            upstream(name, failing[name], retries=retries, limits=limits) for name, (limits, _) in RETRIES.items()
        ]
        upstreams += [upstream("unlimited", crowded)]
        three = (backends["a"], failing["default"], failing["no-retries"])
        upstreams += [upstream("fewer-than-targets", *three, limits={"max_connections": 1})]
        started.serve_with_gateways({"upstreams": upstreams})
        yield started


@LISTENERS
@pytest.mark.feature(
    "Limits, retries and timeouts", "requests over max_requests are 503 at once, while the others are still answered"
)
def test_requests_over_the_limit_are_refused_at_once(envoy: TranslatedEnvoy, slow: Backends, listener: str) -> None:
    answers = at_once(envoy.port(listener), "one-request", 4)
    assert statuses(answers) == [503, 503, 503, 200], "in the order in which they were answered"
    assert answers[0].headers["x-envoy-overloaded"] == "true"
    assert slow["a"].count == 1


@pytest.mark.feature("Limits, retries and timeouts", "max_requests 0 lets nothing pass")
def test_no_requests_at_all(envoy: TranslatedEnvoy, backends: Backends) -> None:
    assert send(envoy.port("public"), "no-request", 3) == {"503": 3}


@pytest.mark.feature("Limits, retries and timeouts", "requests over max_connections wait for a connection")
@pytest.mark.feature(
    "Limits, retries and timeouts",
    "max_connections 0 is as 1 with HTTP, as a lint says, and lets no TCP connection pass",
)
@pytest.mark.parametrize("name", ["one-connection", "no-connection"])
def test_requests_over_the_limit_of_connections_wait(envoy: TranslatedEnvoy, backends: Backends, name: str) -> None:
    """A target has one connection whatever the limit."""
    backends["a"].delay = 0.05
    try:
        assert send(envoy.port("public"), name, 8, connections=8) == {"a": 8}
    finally:
        backends["a"].delay = 0
    assert envoy.envoy.stat(f"cluster.{name}.upstream_cx_total") == 1
    lints = lint([Upstream.model_validate(upstream(name, backends["a"], **LIMITS[name]))])
    assert [each.code for each in lints] == (["connections-below-targets"] if name == "no-connection" else [])


@pytest.mark.feature(
    "Limits, retries and timeouts",
    "max_connections 0 is as 1 with HTTP, as a lint says, and lets no TCP connection pass",
)
def test_no_tcp_connections_at_all(envoy: TranslatedEnvoy, backends: Backends) -> None:
    backends.reset()
    with connect(envoy.port("no-tcp-connection")) as connection, contextlib.suppress(ConnectionError):
        assert connection.recv(1) == b"", "closed at once"
    assert backends["a"].accepted == 0


@pytest.mark.feature(
    "Limits, retries and timeouts",
    "each target has one connection whatever max_connections is, as a lint says; further requests wait",
)
@pytest.mark.feature("Lints", "connections-below-targets: each target has one connection all the same")
def test_each_target_has_a_connection(envoy: TranslatedEnvoy, backends: Backends, failing: Backends) -> None:
    assert send(envoy.port("public"), "fewer-than-targets", 9, connections=9) == {"a": 3, "500": 6}
    assert envoy.envoy.stat("cluster.fewer-than-targets.upstream_cx_total") == 3


@pytest.mark.feature(
    "Limits, retries and timeouts", "requests over max_pending_requests are 503 at once; no more than that wait"
)
def test_waiting_requests_over_the_limit_are_refused_at_once(envoy: TranslatedEnvoy, slow: Backends) -> None:
    assert envoy.ask("one-waits").status == 200  # so that the connection is there
    slow.reset()
    assert statuses(at_once(envoy.port("public"), "one-waits", 5)) == [503, 503, 503, 200, 200]
    assert slow["a"].count == 2


@pytest.mark.feature(
    "Limits, retries and timeouts", "max_pending_requests 0: nothing waits, not for a connection either"
)
@pytest.mark.parametrize("name", ["none-waits", "none-waits-http2"])
def test_nothing_waits(envoy: TranslatedEnvoy, backends: Backends, name: str) -> None:
    assert send(envoy.port("public"), name, 3) == {"503": 3}


@pytest.mark.feature(
    "Limits, retries and timeouts", "each target has its own limit of connections; further requests wait"
)
def test_connections_to_one_target_are_limited_and_requests_wait(envoy: TranslatedEnvoy, backends: Backends) -> None:
    backends["a"].delay = 0.1
    try:
        counts = send(envoy.port("public"), "per-target", 8, connections=8)
    finally:
        backends["a"].delay = 0
    assert counts == {"a": 8}
    assert envoy.envoy.stat("cluster.per-target.upstream_cx_total") == 2


@pytest.mark.feature("Limits, retries and timeouts", "without limits there are none")
def test_without_limits_envoy_knows_none(envoy: TranslatedEnvoy, crowded: Backend) -> None:
    with Load(envoy.port("public"), "unlimited", connections=CROWD, rate=1000, timeout=60):
        try:
            envoy.envoy.wait_until(
                lambda: crowded.active == CROWD, 30, "more requests than Envoy's own limits let pass"
            )
        finally:
            crowded.close()
    thresholds = envoy.envoy.clusters()["unlimited"]["circuit_breakers"]["thresholds"]
    assert len(thresholds) == 2, "both routing priorities"
    for limits in thresholds:
        assert {limits[f"max_{name}"] for name in ("connections", "pending_requests", "requests")} == {4_294_967_295}


@LISTENERS
@pytest.mark.feature(
    "Limits, retries and timeouts", "retries under way are limited by number or as a share of the requests"
)
@pytest.mark.feature("Limits, retries and timeouts", "max_retries 0, or a budget of 0: nothing is retried")
def test_retries_under_way_are_limited(envoy: TranslatedEnvoy, failing: Backends, listener: str) -> None:
    failing.reset()
    port = envoy.port(listener)
    with ThreadPoolExecutor(len(RETRIES)) as pool:
        answers = {name: pool.submit(at_once, port, name, 4) for name in RETRIES}
    assert {name: statuses(made.result()) for name, made in answers.items()} == dict.fromkeys(RETRIES, [500] * 4)
    retries = {name: count - 4 for name, count in failing.counts.items()}
    assert {name: count for name, count in retries.items() if count not in RETRIES[name][1]} == {}, retries
