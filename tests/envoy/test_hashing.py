"""The same key reaches the same target: ring hash and maglev, as the real Envoy carries them out."""

import http.client
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])
ALGORITHMS = pytest.mark.parametrize("algorithm", ["ring-hash", "maglev"])
BY_USER = [{"header": "x-user"}]
KEYS = range(45)
"""So many that every one of three targets has some of them, but for one time in ten million."""


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d", "e") as started:
        yield started


def targets(backends: Backends, names: str = "abc") -> list[dict[str, Any]]:
    return [target(backends[name]) for name in names]


def of_users(rig: ServedUpstreams, name: str, users: int) -> list[str]:
    """Who answers each of these users."""
    return [one(rig, "public", name, "/", {"x-user": f"user-{number}"}) for number in range(users)]


@pytest.mark.feature("Load balancing", "ring-hash and maglev: by header, else query parameter, else path")
@LISTENERS
@ALGORITHMS
def test_hashing_sticks_to_the_first_key_that_is_present(
    rig: ServedUpstreams, backends: Backends, listener: str, algorithm: str
) -> None:
    keys = [{"header": "x-user"}, {"query_parameter": "user"}, {"path": True}]
    name = rig.serve(targets(backends), algorithm=algorithm, hash_on=keys)

    def by_user(path: str) -> list[str]:
        return [one(rig, listener, name, path, {"x-user": f"user-{number}"}) for number in KEYS]

    first = by_user("/")
    assert set(first) == {"a", "b", "c"}
    assert by_user("/other?user=x") == first, "the header is enough"
    by_query = [one(rig, listener, name, f"/?user=user-{number}") for number in KEYS]
    assert by_query == [one(rig, listener, name, f"/elsewhere?user=user-{number}") for number in KEYS]
    assert len(set(by_query)) == 3
    by_path = {one(rig, listener, name, f"/same?number={number}") for number in range(15)}
    assert len(by_path) == 1, "the query is no part of the path"


def one(rig: ServedUpstreams, listener: str, host: str, path: str = "/", headers: dict[str, str] | None = None) -> str:
    return rig.ask(host, path, listener=listener, headers=headers).backend


@pytest.mark.feature("Load balancing", "ring-hash and maglev: by source address unless told otherwise")
@LISTENERS
def test_hashing_is_by_source_address_unless_told(rig: ServedUpstreams, backends: Backends, listener: str) -> None:
    name = rig.serve(targets(backends), algorithm="maglev")
    assert_sticks_by_source(rig.port(listener), name)


@pytest.mark.feature("Load balancing", "ring-hash and maglev: TCP connections by source address")
@ALGORITHMS
def test_tcp_is_hashed_by_source_address(rig: ServedUpstreams, backends: Backends, algorithm: str) -> None:
    name = rig.serve(targets(backends), algorithm=algorithm, protocol="tcp")
    assert_sticks_by_source(rig.port(name), "anything")


def assert_sticks_by_source(port: int, host: str) -> None:
    first = [ask_from(f"127.0.0.{number + 2}", port, host) for number in KEYS]
    assert set(first) == {"a", "b", "c"}
    assert [ask_from(f"127.0.0.{number + 2}", port, host) for number in KEYS] == first


def ask_from(source: str, port: int, host: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
    try:
        connection.request("GET", "/", headers={"host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.headers["x-backend"]
    finally:
        connection.close()


@pytest.mark.feature("Load balancing", "ring-hash and maglev: a missing cookie is made, and then sticks")
@LISTENERS
def test_a_missing_cookie_is_made_and_then_hashed(rig: ServedUpstreams, backends: Backends, listener: str) -> None:
    keys = [{"cookie": "session", "ttl": "0s"}]
    name = rig.serve(targets(backends), algorithm="maglev", hash_on=keys)
    answer = rig.ask(name, listener=listener)
    made = answer.headers["set-cookie"].partition(";")[0]
    assert made.startswith("session=")
    headers = {"cookie": made.replace('"', "")}
    again = Counter(rig.ask(name, listener=listener, headers=headers).backend for _ in range(9))
    assert again == {answer.backend: 9}


@pytest.mark.feature(
    "Load balancing",
    "ring-hash and maglev: a cookie is made for its ttl, with ttl 0s for the session, and without ttl not at all",
)
def test_a_cookie_lives_for_its_ttl_or_is_not_made(rig: ServedUpstreams, backends: Backends) -> None:
    fields = {"targets": targets(backends), "algorithm": "ring-hash"}
    kinds: list[dict[str, str]] = [{"ttl": "1h"}, {"ttl": "0s"}, {}]
    names = rig.serve_all([{**fields, "hash_on": [{"cookie": "cart", **ttl}]} for ttl in kinds])
    lasting, of_the_session, theirs = names
    assert "Max-Age=3600" in rig.ask(lasting).headers["set-cookie"]
    assert "Max-Age" not in rig.ask(of_the_session).headers["set-cookie"]
    assert "set-cookie" not in rig.ask(theirs).headers
    for name in names:
        by_cookie = [one(rig, "public", name, "/", {"cookie": f"cart={number}"}) for number in KEYS]
        assert set(by_cookie) == {"a", "b", "c"}
        assert by_cookie == [one(rig, "public", name, "/x", {"cookie": f"cart={number}"}) for number in KEYS]


@pytest.mark.feature(
    "Load balancing", "ring-hash and maglev: a cookie is the fallback of a header, and not made beside it"
)
def test_a_cookie_is_the_fallback_of_a_header(rig: ServedUpstreams, backends: Backends) -> None:
    keys = [{"header": "x-user"}, {"cookie": "cart", "ttl": "1h"}]
    name = rig.serve(targets(backends), algorithm="maglev", hash_on=keys)
    first = of_users(rig, name, 20)
    assert first == of_users(rig, name, 20)
    assert "set-cookie" not in rig.ask(name, headers={"x-user": "user-1"}).headers
    answer = rig.ask(name)
    cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0].replace('"', "")}
    assert {rig.ask(name, headers=cookie).backend for _ in range(9)} == {answer.backend}


@pytest.mark.feature(
    "Load balancing", "when a target goes, maglev leaves nearly all other keys where they are, ring-hash most"
)
@pytest.mark.parametrize(
    ("algorithm", "table", "moved"),
    [("ring-hash", "ring_hash_lb.size", 0.35), ("maglev", "maglev_lb.max_entries_per_host", 0.1)],
)
def test_when_a_target_goes_the_other_keys_stay(
    rig: ServedUpstreams, backends: Backends, algorithm: str, table: str, moved: float
) -> None:
    # Envoy's ring has one size, so that the others get more places on it, and about one key in five moves to these.
    five = targets(backends, "abcde")
    name = rig.serve(five, algorithm=algorithm, hash_on=BY_USER)
    assert rig.envoy.stat(f"cluster.{name}.{table}") > 0
    before = of_users(rig, name, 150)
    gone = {**five[2], "state": "disabled"}
    rig.put({"name": name, "targets": [*five[:2], gone, *five[3:]], "algorithm": algorithm, "hash_on": BY_USER})
    rig.envoy.wait_until(lambda: "c" not in of_users(rig, name, 150))
    after = of_users(rig, name, 150)
    others = [(was, now) for was, now in zip(before, after, strict=True) if was != "c"]
    assert len(others) < 150
    assert sum(was != now for was, now in others) <= len(others) * moved


@pytest.mark.feature("Load balancing", "ring-hash and maglev: a target's share of the keys is by its weight")
@ALGORITHMS
def test_weights_are_shares_of_the_keys(rig: ServedUpstreams, backends: Backends, algorithm: str) -> None:
    weighted = [target(backends["a"]), target(backends["b"], weight=3)]
    name = rig.serve(weighted, algorithm=algorithm, hash_on=BY_USER)
    # 75 of 300 by weight, 150 without.
    assert Counter(of_users(rig, name, 300))["a"] == pytest.approx(75, abs=40)


@pytest.mark.feature(
    "Load balancing", "bounded load: a target that is too busy hands its key's requests to the next one"
)
@ALGORITHMS
def test_bounded_load_hands_on_what_is_too_much(rig: ServedUpstreams, backends: Backends, algorithm: str) -> None:
    fields = {"targets": targets(backends), "algorithm": algorithm, "hash_on": BY_USER}
    unbounded, bounded = rig.serve_all([fields, {**fields, "hash_balance_factor": 110}])

    def together(name: str, connections: int) -> Counter[str]:
        return rig.send(name, 600, headers={"x-user": "busy"}, connections=connections)

    for backend in backends:
        backend.delay = 0.02
    try:
        assert len(together(unbounded, 30)) == 1
        counts = together(bounded, 30)
        alone = rig.ask(bounded, headers={"x-user": "busy"}).backend
        assert {rig.ask(bounded, headers={"x-user": "busy"}).backend for _ in range(9)} == {alone}
    finally:
        for backend in backends:
            backend.delay = 0
    # 110 % of a third is 220 of 600. The first requests are more: only those that have a connection count.
    assert counts.keys() == {"a", "b", "c"}
    assert max(counts.values()) < 400
