"""What callers give the library: wrong values are refused where they are given, in words, and nothing has changed then."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from live import ask, ended, serving
from scripted_client import cluster, endpoints

from xds_server.xds import CLUSTER, ENDPOINTS, AddressInUseError, DiscoveryServer, Event, Limits, Resource, Snapshot
from xds_server.xds.arguments import split_address

A: Any = cluster("a")
EMPTY = Snapshot.of()


async def _later(*_: Any) -> str:
    return ""


class _Later:
    async def __call__(self, *_: Any) -> str:
        return ""


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "message is text": (lambda: Resource.of(_any("x")), TypeError, r"message must be a Message, is 'x' \(str\)"),
    "type is no text": (lambda: Resource.encode(_any(3), "a", b""), TypeError, "type URL must be a str, is 3"),
    "name is no text": (lambda: Resource.encode(CLUSTER, _any(None), b""), TypeError, "name must be a str, is None"),
    "body is text": (lambda: Resource.encode(CLUSTER, "a", _any("x")), TypeError, "body of 'a' must be a bytes"),
    "version is a number": (
        lambda: Resource.encode(CLUSTER, "a", b"", version=_any(3)),
        TypeError,
        "version of 'a' must be a str, is 3",
    ),
    "references are names": (
        lambda: Resource.encode(CLUSTER, "a", b"", references=_any(["abc"])),
        TypeError,
        "reference of 'a' must be a Reference, is 'abc'",
    ),
    "covers is one text": (lambda: Resource.encode(CLUSTER, "a", b"", covers="abc"), TypeError, r"write \['abc'\]"),
    "covers a number": (
        lambda: Resource.encode(CLUSTER, "a", b"", covers=_any([1])),
        TypeError,
        "covered must be a str",
    ),
    "a message in a snapshot": (
        lambda: Snapshot.of(_any(["a"])),
        TypeError,
        "snapshot holds must be a Resource, is 'a'",
    ),
    "a type without its prefix": (
        lambda: Snapshot.of([Resource.encode("envoy.config.cluster.v3.Cluster", "a", b"")]),
        ValueError,
        "'envoy.config.cluster.v3.Cluster' is no type URL: write type.googleapis.com/",
    ),
    "an empty type": (lambda: EMPTY.change([Resource.encode("", "a", b"")]), ValueError, "'' is no type URL"),
    "an empty name": (lambda: EMPTY.change([Resource.encode(CLUSTER, "", b"")]), ValueError, "name cannot be empty"),
    "a version of the whole that is a number": (
        lambda: Snapshot.of([A], versions=_any({CLUSTER: 3})),
        TypeError,
        "version of type.googleapis.com/.*Cluster must be a str, is 3",
    ),
    "a version of the whole of no type": (
        lambda: Snapshot.of([A], versions={"Cluster": "r17"}),
        ValueError,
        "'Cluster' is no type URL",
    ),
    "a removal by name alone": (lambda: EMPTY.change(remove=_any(["c"])), TypeError, r"\(CLUSTER, 'a'\).*, not 'c'"),
    "a removal of two letters": (lambda: EMPTY.change(remove=_any(["ab"])), TypeError, "not 'ab'"),
    "a removal the wrong way round": (lambda: EMPTY.change(remove=[("c", CLUSTER)]), ValueError, "'c' is no type URL"),
    "a limit that is text": (
        lambda: Limits(max_names=_any("3")),
        TypeError,
        "max_names is '3': it must be a whole number",
    ),
    "a limit of half a name": (lambda: Limits(max_names=_any(0.5)), TypeError, "it must be a whole number"),
    "a limit that is true": (lambda: Limits(drain=True), TypeError, "drain is True: it must be a number"),
    "a limit that is no number": (lambda: Limits(drain=float("nan")), ValueError, "drain is nan: it must be finite"),
    "an endless limit": (lambda: Limits(max_connection_age=float("inf")), ValueError, "it must be finite"),
    "an identifier that is a number": (
        lambda: DiscoveryServer(identifier=_any(3)),
        TypeError,
        "identifier must be a str",
    ),
    "limits that are none": (lambda: DiscoveryServer(limits=_any({})), TypeError, "limits must be a Limits"),
    "a group_of that is a name": (lambda: DiscoveryServer(_any("web")), TypeError, "group_of must be a function"),
    "a group_of that is async": (lambda: DiscoveryServer(_any(_later)), TypeError, "group_of must be a plain function"),
    "an observer that is async": (lambda: DiscoveryServer(observe=_any(_later)), TypeError, "nobody would await it"),
    "an observer with an async call": (lambda: DiscoveryServer().subscribe(_any(_Later())), TypeError, "is async"),
}


def _any(value: Any) -> Any:
    """For values that the types would not let through."""
    return value


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_a_wrong_value_is_refused_where_it_is_given(case: str) -> None:
    make, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize("wrong", [None, [A], "x"], ids=["None", "list", "text"])
async def test_what_is_no_snapshot_leaves_the_last_one_served(wrong: Any) -> None:
    server = DiscoveryServer()
    server.set_snapshot(good := Snapshot.of([A]))
    with pytest.raises(TypeError, match="what is served must be a Snapshot"):
        server.set_snapshot(wrong)
    with pytest.raises(TypeError, match="the name of a group must be a str"):
        server.set_snapshot(EMPTY, _any(3))
    assert server.snapshot() is good
    assert server.ready
    assert server.groups == ("",)


async def test_a_snapshot_is_set_on_the_servers_event_loop_only() -> None:
    async with serving() as (server, _):
        for elsewhere in (lambda: server.set_snapshot(EMPTY), lambda: asyncio.run(_set(server))):
            with pytest.raises(RuntimeError, match="the event loop that runs the server: call it from there"):
                await asyncio.to_thread(elsewhere)
        assert server.snapshot() is None
        server.set_snapshot(EMPTY)
    await asyncio.to_thread(server.set_snapshot, Snapshot.of([A]))  # it does not run any more


async def _set(server: DiscoveryServer) -> None:
    server.set_snapshot(EMPTY)


async def test_a_node_without_the_name_of_a_group_is_told_so_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(group_of=_any(lambda node: None)) as (server, channel):
        server.set_snapshot(Snapshot.of([A]))
        assert (await ended(await ask(channel)))[0] == grpc.StatusCode.INTERNAL
    assert "group_of's answer for 'n' must be a str, is None" in caplog.text


async def test_a_subscription_ends_once_and_no_other_with_it() -> None:
    events: list[Event] = []
    server = DiscoveryServer(observe=events.append)
    end = server.subscribe(events.append)
    end()
    end()
    server._observe(event := Event("opened", 1, None))
    assert events == [event]


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("::1", 65535)), ("localhost:80", ("localhost", 80))],
)
def test_an_address_is_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


NO_ADDRESS = [
    "127.0.0.1",
    "foo",
    "127.0.0.1:99999",
    "127.0.0.1:",
    ":80",
    "127.0.0.1:-1",
    "127.0.0.1:http",
    "::1:80",
    "[]:80",
]


@pytest.mark.parametrize("address", [*NO_ADDRESS, "", "unix:/tmp/x", "nope.invalid:0"])
async def test_the_server_listens_nowhere_else_than_told(address: str) -> None:
    server = DiscoveryServer()
    with pytest.raises(ValueError, match="host:port"):
        await server.start(address)
    with pytest.raises(TypeError, match="an address must be a str, is 123"):
        await server.start(_any(123))
    assert not server.serving
    assert await server.start(), "the next attempt may succeed"
    await server.stop(0)


async def test_an_address_of_another_machine_is_told_apart_from_no_address() -> None:
    with pytest.raises(AddressInUseError, match="in use or not of this machine"):
        await DiscoveryServer().start("192.0.2.1:0")


def test_of_several_changes_of_one_name_the_last_counts_and_removals_come_first() -> None:
    first, last = endpoints("a", 1), endpoints("a", 2)
    snapshot = Snapshot.of([endpoints("a", 3)]).change([first, last], [(ENDPOINTS, "a")])
    assert snapshot.get(ENDPOINTS, "a") is last


def test_a_callers_version_of_a_type_ends_with_the_next_change() -> None:
    snapshot = Snapshot.of([A], versions={CLUSTER: "r17"})
    assert snapshot.change([cluster("b")]).version(CLUSTER) == Snapshot.of([A, cluster("b")]).version(CLUSTER)
    assert snapshot.change([endpoints("a")]).version(CLUSTER) == "r17"
