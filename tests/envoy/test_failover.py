"""Priorities: when the next one takes over, and what is left when all are down, as the real Envoy carries it out."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from rig import target
from translated_envoy import TranslatedEnvoy
from zoned_fleet import AT_ONCE, PROBED

from xds_server.testing import Backends, send

pytestmark = pytest.mark.envoy

FRESH = (f"failover-{number}" for number in count())


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends(*"abcdefghijk") as started:
        yield started


Serve = Callable[..., None]


@pytest.fixture
def name() -> str:
    return next(FRESH)


@pytest.fixture
def serve(envoy: TranslatedEnvoy, name: str) -> Serve:
    """Serves one upstream of the test's own name, and again as it changes; `addresses` are what names resolve to."""

    def one(*targets: dict[str, Any], addresses: dict[str, list[str]] | None = None, **fields: Any) -> None:
        upstream = {"name": name, "targets": targets, "envoy": AT_ONCE, **fields}
        envoy.serve_with_gateways({"upstreams": [upstream]}, **(addresses or {}))

    return one


Arrives = Callable[..., None]


@pytest.fixture
def arrives(envoy: TranslatedEnvoy, name: str) -> Arrives:
    """Waits until requests arrive as wanted: by backend, or by status where it is not 200."""

    def wait(**counts: int) -> None:
        wanted = {key.removeprefix("status_"): number for key, number in counts.items()}
        total = sum(wanted.values())
        envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, total) == wanted, 10, f"requests as {wanted}")

    return wait


@pytest.mark.feature(
    "Localities and failover", "all-down: the last of ten targets keeps every request while a backup is idle"
)
def test_nine_of_ten_down_is_not_all_down(
    envoy: TranslatedEnvoy, backends: Backends, name: str, serve: Serve, arrives: Arrives
) -> None:
    ten, last, backup = [backends[letter] for letter in "abcdefghi"], backends["j"], backends["k"]
    serve(*(target(backend) for backend in (*ten, last)), target(backup, priority=1), health_checks=PROBED)
    for backend in ten:
        backend.healthy = False
    sick = {backend.address: "FAILED_ACTIVE_HC" for backend in ten}
    envoy.envoy.wait_for_endpoints(name, {**sick, last.address: "HEALTHY", backup.address: "HEALTHY"})
    arrives(j=200)
    last.healthy = False
    arrives(k=20)
    last.healthy = True
    arrives(j=20)


@pytest.mark.feature(
    "Localities and failover", "all-down: three priorities take over one after the other, and give back"
)
def test_three_priorities_take_over_in_turn(backends: Backends, serve: Serve, arrives: Arrives) -> None:
    a, b, c, d = (backends[letter] for letter in "abcd")
    serve(target(a), target(b), target(c, priority=1), target(d, priority=2), health_checks=PROBED)
    arrives(a=10, b=10)
    a.healthy = False
    arrives(b=20)
    b.healthy = False
    arrives(c=20)
    c.healthy = False
    arrives(d=20)
    b.healthy = True
    arrives(b=20)
    a.healthy = True
    arrives(a=10, b=10)


@pytest.mark.feature(
    "Localities and failover", "proportional: each priority takes what those before it are too sick for"
)
def test_proportional_spills_over_three_priorities(
    envoy: TranslatedEnvoy, backends: Backends, name: str, serve: Serve
) -> None:
    a, b, c, d, e = (backends[letter] for letter in "abcde")
    targets = [target(a), target(b), *(target(one, priority=1) for one in (c, d)), target(e, priority=2)]
    serve(*targets, failover="proportional", health_checks=PROBED)
    b.healthy = d.healthy = False
    # Half of each, times 140 %: 70 % here, of the rest at most 70 % there, and nothing for the third.
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 200)["c"] == pytest.approx(60, abs=30))
    a.healthy = False
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 200)["a"] == 0)
    counts = send(envoy.port("public"), name, 200)
    assert counts["c"] == pytest.approx(140, abs=35)
    assert counts["e"] == 200 - counts["c"]


@pytest.mark.feature("Localities and failover", "gaps between priorities are closed")
def test_gaps_between_priorities_are_closed(
    envoy: TranslatedEnvoy, backends: Backends, name: str, serve: Serve, arrives: Arrives
) -> None:
    a, b, c = (backends[letter] for letter in "abc")
    serve(target(a, priority=3), target(b, priority=40), target(c, priority=128), health_checks=PROBED)
    arrives(a=10)
    ports = {host["address"]["socket_address"]["port_value"]: host for host in hosts(envoy, name)}
    assert [ports[backend.port].get("priority", 0) for backend in (a, b, c)] == [0, 1, 2]
    a.healthy = False
    arrives(b=10)
    b.healthy = False
    arrives(c=10)
    serve(target(c, priority=128), target(b, state="disabled"), target(a, priority=3, state="disabled"))
    arrives(c=10)


def hosts(envoy: TranslatedEnvoy, name: str) -> list[dict[str, Any]]:
    return list(envoy.envoy.clusters()[name]["host_statuses"])


@pytest.mark.feature("Localities and failover", "with all weights of a priority at 0 the next one takes over")
def test_all_weights_zero_hands_over_to_the_next_priority(backends: Backends, serve: Serve, arrives: Arrives) -> None:
    a, b, c = (backends[letter] for letter in "abc")
    weighted = {"algorithm": "weighted-round-robin"}
    serve(target(a, weight=3), target(b), target(c, priority=1), **weighted)
    arrives(a=15, b=5)
    serve(target(a, weight=0), target(b), target(c, priority=1), **weighted)
    arrives(b=20)
    serve(target(a, weight=0), target(b, weight=0), target(c, priority=1), **weighted)
    arrives(c=20)
    serve(target(a, weight=0), target(b, weight=0), target(c, weight=0, priority=1), **weighted)
    arrives(status_503=20)
    serve(target(a, weight=2), target(b, weight=0), target(c, weight=0, priority=1), **weighted)
    arrives(a=20)


@pytest.mark.feature("Localities and failover", "fail: 503 when no target of any priority is healthy")
def test_fail_is_503_over_all_priorities(backends: Backends, serve: Serve, arrives: Arrives) -> None:
    a, b, c = (backends[letter] for letter in "abc")
    serve(target(a), target(b), target(c, priority=1), health_checks=PROBED)
    for backend in (a, b, c):
        backend.healthy = False
    arrives(status_503=20)
    c.healthy = True
    arrives(c=20)


@pytest.mark.feature(
    "Localities and failover", "send-all: when all priorities are down, all targets of all of them are tried"
)
def test_send_all_uses_all_priorities(
    envoy: TranslatedEnvoy, backends: Backends, name: str, serve: Serve, arrives: Arrives
) -> None:
    a, b, c = (backends[letter] for letter in "abc")
    serve(target(a), target(b), target(c, priority=1), health_checks=PROBED, on_all_unhealthy="send-all")
    a.healthy = b.healthy = False
    arrives(c=20)  # a healthy backup is enough
    c.healthy = False

    def all_equal() -> bool:
        counts = send(envoy.port("public"), name, 150)
        return all(counts[letter] == pytest.approx(50, abs=25) for letter in "abc")

    envoy.envoy.wait_until(all_equal)
    a.healthy = True
    arrives(a=20)


TWO_NAMES = {"one.example": ["127.0.0.1"], "two.example": ["127.0.0.1"]}


@pytest.mark.feature("Localities and failover", "two names of one address are one target, of the better priority")
def test_two_names_of_one_address_are_one_target(
    envoy: TranslatedEnvoy, backends: Backends, name: str, serve: Serve, arrives: Arrives
) -> None:
    a, b = backends["a"], backends["b"]
    same = [{"host": "one.example", "port": a.port, "priority": 1}, {"host": "two.example", "port": a.port}]
    serve(*same, target(b), addresses=TWO_NAMES)
    arrives(a=10, b=10)
    assert len(hosts(envoy, name)) == 2
    drained = [{"host": "one.example", "port": a.port}, {"host": "two.example", "port": a.port, "state": "draining"}]
    serve(*drained, target(b), addresses=TWO_NAMES)
    arrives(b=20)
    envoy.envoy.wait_for_endpoints(name, {a.address: "DRAINING", b.address: "HEALTHY"})
