"""Who gets the requests: algorithms, weights and slow start, as the real Envoy carries them out."""

import time
from itertools import pairwise
from typing import Any

import pytest
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backends, send

pytestmark = pytest.mark.envoy

LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])


@pytest.mark.feature("Load balancing", "round-robin gives every target the same share")
@LISTENERS
def test_round_robin_shares_equally(rig: ServedUpstreams, backends: Backends, listener: str) -> None:
    name = rig.serve([target(backends[letter]) for letter in "abc"])
    assert send(rig.port(listener), name, 30) == {"a": 10, "b": 10, "c": 10}


@pytest.mark.feature("Load balancing", "weighted-round-robin shares by weight")
def test_weights_one_to_three(rig: ServedUpstreams, backends: Backends) -> None:
    targets = [target(backends["a"]), target(backends["b"], weight=3)]
    name = rig.serve(targets, algorithm="weighted-round-robin")
    counts = rig.send(name, 400)
    assert counts["a"] == pytest.approx(100, abs=8)
    assert counts.total() == counts["a"] + counts["b"]


@pytest.mark.feature("Load balancing", "a target of weight 0 gets no requests, and all others go on")
def test_only_enabled_targets_with_a_weight_get_requests(rig: ServedUpstreams, backends: Backends) -> None:
    targets = [target(backends["a"]), target(backends["b"], state="draining"), target(backends["c"], weight=0)]
    name = rig.serve(targets)
    assert rig.send(name, 12) == {"a": 12}
    rig.put({"name": name, "targets": [target(backends["a"], state="disabled"), target(backends["b"], weight=0)]})
    rig.envoy.wait_until(lambda: rig.send(name, 12) == {"503": 12})


@pytest.mark.feature("Load balancing", "with all weights at 0 every request is answered with 503")
def test_all_weights_zero_is_503(rig: ServedUpstreams, backends: Backends) -> None:
    name = rig.serve([target(backends["a"], weight=0), target(backends["b"], weight=0)])
    assert rig.send(name, 6) == {"503": 6}


@pytest.mark.feature("Load balancing", "an upstream without targets is answered with 503")
def test_no_targets_is_503(rig: ServedUpstreams) -> None:
    name = rig.serve([])
    assert rig.send(name, 3) == {"503": 3}


@pytest.mark.feature("Load balancing", "least-connections gives a slow target of two far less than half")
def test_least_connections_avoids_a_slow_target(rig: ServedUpstreams, backends: Backends) -> None:
    name = rig.serve([target(backends["a"]), target(backends["b"])], algorithm="least-connections")
    backends["a"].delay = 0.1
    counts = rig.send(name, 200, connections=8)
    # It had a quarter and more if the better of two random choices were taken, which may both be the slow one.
    assert 0 < counts["a"] < 32


@pytest.mark.feature("Load balancing", "random uses every target, in no order")
def test_random_uses_every_target(rig: ServedUpstreams, backends: Backends) -> None:
    name = rig.serve([target(backends[letter]) for letter in "abc"], algorithm="random")
    order = [rig.ask(name).backend for _ in range(90)]
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
def test_slow_start_gives_new_and_recovered_targets_less(rig: ServedUpstreams, backends: Backends) -> None:
    a, b, c = (target(backends[name]) for name in "abc")
    probed = {"active": {"path": "/healthz", "interval": "50ms", "healthy_threshold": 1, "unhealthy_threshold": 1}}
    sick = {"name": "sick", "targets": [a, b, c], "health_checks": probed, **STARTS["slow"]}

    def put(*new: dict[str, Any]) -> float:
        began = time.monotonic()
        upstreams = [{"name": name, "targets": [a, b, *new], **fields} for name, fields in STARTS.items()]
        rig.put(*upstreams, sick)
        return began

    def share(name: str) -> int:
        return rig.send(name, 60)["c"]

    def first_share(name: str) -> int:
        shares: list[int] = []
        rig.envoy.wait_until(lambda: shares.append(share(name)) or shares[-1])
        return shares[-1]

    backends["c"].healthy = False
    put()
    old = time.monotonic() + WINDOW
    rig.envoy.wait_until(lambda: "FAILED_ACTIVE_HC" in rig.envoy.endpoints("sick").values())
    rig.envoy.wait_until(lambda: time.monotonic() > old, what="the end of the window of a and b")
    recovered = time.monotonic()
    backends["c"].healthy = True
    rig.envoy.wait_until(lambda: "FAILED_ACTIVE_HC" not in rig.envoy.endpoints("sick").values())
    assert first_share("sick") <= most(60, recovered)
    new = put(c)
    for name in ("slow", "least"):
        assert first_share(name) <= most(60, new), name
    for name in ("floor", "eager"):
        rig.envoy.wait_until(lambda name=name: share(name))
        assert share(name) > 15, name  # a third is 20
    for name in ("slow", "sick"):
        rig.envoy.wait_until(lambda name=name: share(name) == 20)
    rig.envoy.wait_until(lambda: share("least") >= 12, what="about a third, at random while all are idle")


@pytest.mark.feature("Addresses and DNS", "resolve: envoy: what is taken out gets nothing, and priorities hold")
def test_targets_resolved_by_envoy(rig: ServedUpstreams, backends: Backends) -> None:
    targets = [
        {"host": "localhost", "port": backends["a"].port},
        {"host": "localhost", "port": backends["b"].port, "state": "draining"},
        target(backends["c"], priority=1),
    ]
    name = rig.serve(targets, resolve="envoy")
    assert rig.send(name, 6) == {"a": 6}
    rig.put({"name": name, "targets": [dict(targets[0], state="disabled"), *targets[1:]], "resolve": "envoy"})
    rig.envoy.wait_until(lambda: rig.send(name, 3) == {"c": 3})
