"""Who gets the requests: algorithms, weights, states and hashing, as the real Envoy carries them out."""

import http.client
from collections import Counter
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


@LISTENERS
def test_round_robin_shares_equally(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    serve(envoy, "equal", [target(backends, name) for name in "abc"])
    assert send(envoy.port(listener), "equal", 30) == {"a": 10, "b": 10, "c": 10}


def test_weights_one_to_three(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [target(backends, "a"), target(backends, "b", weight=3)]
    serve(envoy, "weighted", targets, algorithm="weighted-round-robin")
    counts = send(envoy.port("public"), "weighted", 400)
    assert counts["a"] == pytest.approx(100, abs=8)
    assert counts.total() == counts["a"] + counts["b"]


def test_only_enabled_targets_with_a_weight_get_requests(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [target(backends, "a"), target(backends, "b", state="draining"), target(backends, "c", weight=0)]
    serve(envoy, "states", targets)
    assert send(envoy.port("public"), "states", 12) == {"a": 12}
    serve(envoy, "states", [target(backends, "a", state="disabled"), target(backends, "b", state="unhealthy")])
    envoy.envoy.wait_for_endpoints("states", {backends["b"].address: "UNHEALTHY"})
    assert send(envoy.port("public"), "states", 12) == {"503": 12}


def test_all_weights_zero_is_503(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "zero", [target(backends, "a", weight=0), target(backends, "b", weight=0)])
    assert send(envoy.port("public"), "zero", 6) == {"503": 6}


def test_no_targets_is_503(envoy: TranslatedEnvoy) -> None:
    serve(envoy, "nothing", [])
    assert send(envoy.port("public"), "nothing", 3) == {"503": 3}


def test_least_connections_avoids_a_slow_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "least", [target(backends, "a"), target(backends, "b")], algorithm="least-connections")
    backends["a"].delay = 0.2
    try:
        counts = send(envoy.port("public"), "least", 60, connections=4)
    finally:
        backends["a"].delay = 0
    assert 0 < counts["a"] < counts["b"] / 2


def test_random_uses_every_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    serve(envoy, "random", [target(backends, name) for name in "abc"], algorithm="random")
    order = [envoy.ask("random").backend for _ in range(90)]
    assert set(order) == {"a", "b", "c"}
    # Round robin never repeats itself at once; 90 random choices of three do, but for one time in 10^15.
    assert any(one == next_one for one, next_one in pairwise(order))


@LISTENERS
@pytest.mark.parametrize("algorithm", ["ring-hash", "maglev"])
def test_hashing_sticks_to_the_first_key_that_is_present(
    envoy: TranslatedEnvoy, backends: Backends, listener: str, algorithm: str
) -> None:
    keys = [{"header": "x-user"}, {"query_parameter": "user"}, {"path": True}]
    serve(envoy, "hashed", [target(backends, name) for name in "abc"], algorithm=algorithm, hash_on=keys)

    def by_user(path: str) -> list[str]:
        return [one(envoy, listener, "hashed", path, {"x-user": f"user-{number}"}) for number in range(30)]

    first = by_user("/")
    assert set(first) == {"a", "b", "c"}
    assert by_user("/other?user=x") == first, "the header is enough"
    by_query = [one(envoy, listener, "hashed", f"/?user=user-{number}") for number in range(30)]
    assert by_query == [one(envoy, listener, "hashed", f"/elsewhere?user=user-{number}") for number in range(30)]
    assert len(set(by_query)) == 3
    by_path = {one(envoy, listener, "hashed", f"/same?number={number}") for number in range(15)}
    assert len(by_path) == 1, "the query is no part of the path"


def one(
    envoy: TranslatedEnvoy, listener: str, host: str, path: str = "/", headers: dict[str, str] | None = None
) -> str:
    return envoy.ask(host, path, listener=listener, headers=headers).backend


@LISTENERS
def test_hashing_is_by_source_address_unless_told(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    serve(envoy, "by-source", [target(backends, name) for name in "abc"], algorithm="maglev")
    assert_sticks_by_source(envoy.port(listener), "by-source")


@pytest.mark.parametrize("algorithm", ["ring-hash", "maglev"])
def test_tcp_is_hashed_by_source_address(envoy: TranslatedEnvoy, backends: Backends, algorithm: str) -> None:
    serve(envoy, "tcp", [target(backends, name) for name in "abc"], algorithm=algorithm, protocol="tcp")
    assert_sticks_by_source(envoy.port("tcp"), "anything")


def assert_sticks_by_source(port: int, host: str) -> None:
    first = [ask_from(f"127.0.0.{number}", port, host) for number in range(2, 22)]
    assert set(first) == {"a", "b", "c"}
    assert [ask_from(f"127.0.0.{number}", port, host) for number in range(2, 22)] == first


def ask_from(source: str, port: int, host: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
    try:
        connection.request("GET", "/", headers={"host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.headers["x-backend"]
    finally:
        connection.close()


@LISTENERS
def test_a_missing_cookie_is_made_and_then_hashed(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    keys = [{"cookie": "session", "ttl": "0s"}]
    serve(envoy, "cookie", [target(backends, name) for name in "abc"], algorithm="maglev", hash_on=keys)
    answer = envoy.ask("cookie", listener=listener)
    made = answer.headers["set-cookie"].partition(";")[0]
    assert made.startswith("session=")
    headers = {"cookie": made.replace('"', "")}
    again = Counter(envoy.ask("cookie", listener=listener, headers=headers).backend for _ in range(9))
    assert again == {answer.backend: 9}


def test_slow_start_gives_a_new_target_less(envoy: TranslatedEnvoy, backends: Backends) -> None:
    old, slow = [target(backends, "a"), target(backends, "b")], {"slow_start": {"window": "1.5s"}}
    serve(envoy, "slow", old, algorithm="weighted-round-robin", **slow)
    with Load(envoy.port("public"), "slow", rate=100) as load:
        load.wait_for(200)  # two seconds: these two are no longer new
    serve(envoy, "slow", [*old, target(backends, "c")], algorithm="weighted-round-robin", **slow)
    envoy.envoy.wait_until(lambda: len(envoy.envoy.endpoints("slow")) == 3)
    counts = send(envoy.port("public"), "slow", 60)
    assert counts["c"] < 12, "a third without slow start"
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), "slow", 30)["c"] == 10)


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
