"""Changes under traffic: not one RPC fails, and each change is seen in who answers."""

from collections.abc import Iterator

import pytest
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target

Backends = tuple[GrpcBackend, GrpcBackend, GrpcBackend]


@pytest.fixture
def loaded(backends: Backends, app: GrpcClient) -> Iterator[GrpcClient]:
    """An application whose load must not have failed once when the test ends."""
    yield app
    assert app.end_load().errors == {}


def test_R14_a_drained_target_gets_no_new_rpcs_and_finishes_running_ones(
    control_plane: Product, loaded: GrpcClient, backends: Backends
) -> None:
    a, b, _ = backends
    control_plane.upstream("drained", target(a), target(b))
    loaded.reach("drained", "a", "b")
    first, (one,) = loaded.open("drained")
    second, (other,) = loaded.open("drained")
    loaded.load("drained")
    loaded.load_until(lambda seen: seen["a"] and seen["b"], "shared")
    for state in ("draining", "unhealthy", "disabled", "weight 0"):
        taken_out = {"weight": 0} if state == "weight 0" else {"state": state}
        control_plane.upstream("drained", target(a, **taken_out), target(b), algorithm="weighted-round-robin")
        assert not loaded.load_until(lambda seen: not seen["a"], state).errors
        control_plane.upstream("drained", target(a), target(b), algorithm="weighted-round-robin")
        assert not loaded.load_until(lambda seen: seen["a"], f"back from {state}").errors
    assert (first.backends | second.backends).keys() == {"a", "b"}, "one stream on each"
    a.release()
    b.release()
    assert loaded.finish(one).errors == {}
    assert loaded.finish(other).errors == {}


def test_new_targets_and_new_weights_get_their_share(
    control_plane: Product, loaded: GrpcClient, backends: Backends
) -> None:
    a, b, c = backends
    control_plane.upstream("growing", target(a), target(b))
    loaded.load("growing")
    loaded.load_until(lambda seen: seen["a"] and seen["b"], "shared by two")
    connections = len(a.peers) + len(b.peers)
    control_plane.upstream("growing", *map(target, backends))
    assert not loaded.load_until(lambda seen: seen["c"] >= 10, "shared by three").errors
    assert len(a.peers) + len(b.peers) == connections, "the others keep their connections"
    for heavy, light in ((c, a), (a, c)):
        targets = (target(b), target(heavy, weight=20), target(light))
        control_plane.upstream("growing", *targets, algorithm="weighted-round-robin")
        name = heavy.name
        assert not loaded.load_until(lambda seen, name=name: seen[name] >= 0.8 * seen.total(), f"{name} alone").errors


def test_all_targets_are_replaced(control_plane: Product, loaded: GrpcClient, backends: Backends) -> None:
    a, b, c = backends
    control_plane.upstream("replaced", target(a), target(b))
    loaded.load("replaced")
    loaded.load_until(lambda seen: seen["a"] and seen["b"], "shared")
    control_plane.upstream("replaced", target(c))
    assert not loaded.load_until(lambda seen: seen.keys() == {"c"}, "c").errors


def test_algorithms_and_settings_change(control_plane: Product, loaded: GrpcClient, backends: Backends) -> None:
    control_plane.upstream("switched", *map(target, backends))
    loaded.load("switched")
    loaded.load_until(lambda seen: len(seen) == 3, "shared")
    control_plane.upstream("switched", *map(target, backends), algorithm="ring-hash", timeout="60s")
    assert not loaded.load_until(lambda seen: len(seen) == 1, "hashed").errors
    control_plane.upstream("switched", *map(target, backends), limits={"max_requests": 1000})
    assert not loaded.load_until(lambda seen: len(seen) == 3, "shared again").errors


def test_the_next_priority_takes_over_and_gives_back(
    control_plane: Product, loaded: GrpcClient, backends: Backends
) -> None:
    a, b, c = backends
    targets = (target(a), target(b, priority=3), target(c, priority=9, state="draining"))
    control_plane.upstream("failover", *targets)
    loaded.load("failover")
    assert loaded.load_until(lambda seen: seen["a"], "a").backends.keys() == {"a"}
    control_plane.upstream("failover", target(a, state="draining"), *targets[1:])
    assert not loaded.load_until(lambda seen: seen.keys() == {"b"}, "the next priority").errors
    control_plane.upstream("failover", *targets)
    assert not loaded.load_until(lambda seen: seen.keys() == {"a"}, "the first priority").errors


def test_a_target_that_is_down_is_failed_over(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, _ = backends
    control_plane.upstream("down", target(a), target(b, priority=1))
    assert app.send("down", 10).backends == {"a": 10}
    a.stop()
    assert app.send("down", 10).backends == {"b": 10}
    a.start()
    app.load("down")
    assert not app.load_until(lambda seen: seen.keys() == {"a"}, "back").errors
    assert not app.end_load().errors


def test_S52_a_name_that_appears_later_is_waited_for(
    control_plane: Product, loaded: GrpcClient, backends: Backends
) -> None:
    a, *_ = backends
    control_plane.upstream("other", target(a))
    assert loaded.send("other", 3).backends == {"a": 3}
    loaded.load("later", within=30)
    assert loaded.send("later", 1, within=0.3).statuses == {"DEADLINE_EXCEEDED": 1}
    control_plane.upstream("later", target(a))
    assert not loaded.load_until(lambda seen: seen["a"], "there").errors


def test_R6_S49_an_upstream_goes_and_comes_back(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, _ = backends
    control_plane.upstream("stays", target(b))
    for _ in range(2):
        control_plane.upstream("returns", target(a))
        app.load("returns")
        app.load_until(lambda seen: seen["a"] >= 40, "there")
        control_plane.remove("returns")
        app.load_until(lambda seen: not seen, "gone")
        app.end_load()
        assert app.send("stays", 5).backends == {"b": 5}


def test_S8_two_channels_are_two_streams_of_one_node(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, b, c = backends
    before = len(control_plane.server.events("xds.opened"))
    control_plane.upstream("one", target(a))
    control_plane.upstream("two", target(b))
    assert app.send("one", 5).backends == {"a": 5}
    assert app.send("two", 5).backends == {"b": 5}
    opened = control_plane.server.events("xds.opened")[before:]
    assert [(event["node"], event["agent"].split()[0]) for event in opened] == [("app", "gRPC"), ("app", "gRPC")]
    app.load("two")
    control_plane.upstream("one", target(c))
    control_plane.upstream("two", target(a))
    assert not app.load_until(lambda seen: seen.keys() == {"a"}, "two at a").errors
    assert not app.end_load().errors
    app.close("two")
    app.load("one")
    app.load_until(lambda seen: seen.keys() == {"c"}, "one at c")
    assert not app.end_load().errors
