"""Who gets the requests: algorithms, weights, states and hashing, as the real Envoy carries them out."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, Load, send

pytestmark = pytest.mark.envoy

LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c") as started:
        yield started


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


def target(backends: Backends, name: str, **fields: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": backends[name].port, **fields}


def serve(envoy: TranslatedEnvoy, name: str, targets: list[dict[str, Any]], **fields: Any) -> None:
    envoy.serve_with_gateways({"upstreams": [{"name": name, "targets": targets, **fields}]})


@pytest.mark.feature("Load balancing", "round-robin gives every target the same share")
@LISTENERS
def test_round_robin_shares_equally(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    serve(envoy, "equal", [target(backends, name) for name in "abc"])
    assert send(envoy.port(listener), "equal", 30) == {"a": 10, "b": 10, "c": 10}


@pytest.mark.feature("Load balancing", "weighted-round-robin shares by weight")
def test_weights_one_to_three(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [target(backends, "a"), target(backends, "b", weight=3)]
    serve(envoy, "weighted", targets, algorithm="weighted-round-robin")
    counts = send(envoy.port("public"), "weighted", 400)
    assert counts["a"] == pytest.approx(100, abs=8)
    assert counts.total() == counts["a"] + counts["b"]


@pytest.mark.feature("Load balancing", "a target of weight 0 gets no requests, and all others go on")
def test_only_enabled_targets_with_a_weight_get_requests(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [target(backends, "a"), target(backends, "b", state="draining"), target(backends, "c", weight=0)]
    serve(envoy, "states", targets)
    assert send(envoy.port("public"), "states", 12) == {"a": 12}
    serve(envoy, "states", [target(backends, "a", state="disabled"), target(backends, "b", state="unhealthy")])
    envoy.envoy.wait_for_endpoints("states", {backends["b"].address: "UNHEALTHY"})
    assert send(envoy.port("public"), "states", 12) == {"503": 12}


@pytest.mark.feature("Load balancing", "with all weights at 0 every request is answered with 503")
def test_all_weights_zero_is_503(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "zero", [target(backends, "a", weight=0), target(backends, "b", weight=0)])
    assert send(envoy.port("public"), "zero", 6) == {"503": 6}


@pytest.mark.feature("Load balancing", "an upstream without targets is answered with 503")
def test_no_targets_is_503(envoy: TranslatedEnvoy) -> None:
    serve(envoy, "nothing", [])
    assert send(envoy.port("public"), "nothing", 3) == {"503": 3}


@pytest.mark.feature("Load balancing", "least-connections gives a slow target of two far less than half")
def test_least_connections_avoids_a_slow_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "least", [target(backends, "a"), target(backends, "b")], algorithm="least-connections")
    backends["a"].delay = 0.1
    try:
        counts = send(envoy.port("public"), "least", 200, connections=8)
    finally:
        backends["a"].delay = 0
    # It had a quarter and more if the better of two random choices were taken, which may both be the slow one.
    assert 0 < counts["a"] < 32


@pytest.mark.feature("Load balancing", "random uses every target, in no order")
def test_random_uses_every_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "random", [target(backends, name) for name in "abc"], algorithm="random")
    order = [envoy.ask("random").backend for _ in range(90)]
    assert set(order) == {"a", "b", "c"}
    # Round robin never repeats itself at once; 90 random choices of three do, but for one time in 10^15.
    assert any(one == next_one for one, next_one in pairwise(order))


WINDOW = 3.0
STARTS: dict[str, dict[str, Any]] = {
    "slow": {"slow_start": {"window": f"{WINDOW}s"}},
    "least": {"slow_start": {"window": f"{WINDOW}s"}, "algorithm": "least-connections"},
    "floor": {"slow_start": {"window": f"{WINDOW}s", "min_weight_percent": 90}},
    "eager": {"slow_start": {"window": f"{WINDOW}s", "aggression": 100}},
}


def most(requests: int, since: float) -> float:
    """Requests of so many that one of three targets may have had by now, in a window that began at a time: with 5 to spare."""
    weight = max(0.1, (time.monotonic() - since) / WINDOW)
    return requests * weight / (2 + weight) + 5


@pytest.mark.feature(
    "Load balancing", "slow start: the share of a new target and of a recovered one grows over the window"
)
@pytest.mark.feature("Load balancing", "slow start: aggression and the least share shape how it grows")
def test_slow_start_gives_new_and_recovered_targets_less(envoy: TranslatedEnvoy, backends: Backends) -> None:
    a, b, c = (target(backends, name) for name in "abc")
    probed = {"active": {"path": "/healthz", "interval": "50ms", "healthy_threshold": 1, "unhealthy_threshold": 1}}
    sick = {"name": "sick", "targets": [a, b, c], "health_checks": probed, **STARTS["slow"]}

    def put(*new: dict[str, Any]) -> float:
        began = time.monotonic()
        upstreams = [{"name": name, "targets": [a, b, *new], **fields} for name, fields in STARTS.items()]
        envoy.serve_with_gateways({"upstreams": [*upstreams, sick]})
        return began

    def share(name: str) -> int:
        return send(envoy.port("public"), name, 60)["c"]

    backends["c"].healthy = False
    put()
    old = time.monotonic() + WINDOW
    envoy.envoy.wait_until(lambda: "FAILED_ACTIVE_HC" in envoy.envoy.endpoints("sick").values())
    envoy.envoy.wait_until(lambda: time.monotonic() > old, what="the end of the window of a and b")
    recovered = time.monotonic()
    backends["c"].healthy = True
    envoy.envoy.wait_until(lambda: "FAILED_ACTIVE_HC" not in envoy.envoy.endpoints("sick").values())
    assert 0 < share("sick") <= most(60, recovered)
    new = put(c)
    envoy.envoy.wait_until(lambda: all(len(envoy.envoy.endpoints(name)) == 3 for name in STARTS))
    for name in ("slow", "least"):
        assert 0 < share(name) <= most(60, new), name
    for name in ("floor", "eager"):
        assert share(name) > 15, name  # a third is 20
    for name in ("slow", "sick"):
        envoy.envoy.wait_until(lambda name=name: share(name) == 20)
    envoy.envoy.wait_until(lambda: share("least") >= 12, what="about a third, at random while all are idle")


def test_a_target_resolved_by_envoy(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [
        {"host": "localhost", "port": backends["a"].port},
        {"host": "localhost", "port": backends["b"].port, "state": "draining"},
        target(backends, "c", priority=1),
    ]
    serve(envoy, "dns", targets, resolve="envoy")
    assert send(envoy.port("public"), "dns", 6) == {"a": 6}
    serve(envoy, "dns", [dict(targets[0], state="disabled"), *targets[1:]], resolve="envoy")
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), "dns", 3) == {"c": 3})


def test_draining_a_target_under_load_fails_nothing(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "loaded", [target(backends, "a"), target(backends, "b")])
    with Load(envoy.port("public"), "loaded") as load:
        load.wait_for(50)
        serve(envoy, "loaded", [target(backends, "a", state="draining"), target(backends, "b")])
        envoy.envoy.wait_for_endpoints("loaded", {backends["a"].address: "DRAINING", backends["b"].address: "HEALTHY"})
        load.wait_for(50)
    assert load.failures == 0
