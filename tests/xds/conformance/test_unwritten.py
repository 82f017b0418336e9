"""A control plane that was never told what to serve: it empties nobody who was told something by another one (S16)."""

from collections.abc import Callable
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from live import DELTA, SOTW, ask, read, serving
from scripted_client import BY_NAME, MAKERS, WHOLE, Client, cluster, endpoints, kind_of, listener, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, DiscoveryServer, Limits, Snapshot
from xds_server.xds.server import NotReadyError

Open = Callable[[str], Client]


def come_back(here: Client, type_url: str, *names: str, version: str = "of another time") -> list[Any]:
    """The first request of a client that was told something before."""
    if here.delta:
        return here.ask(type_url, *names, held=dict.fromkeys(names or ("a",), version))
    return here.ask(type_url, *names, version=version)


def test_S15_S16_who_holds_nothing_is_answered(stream_of: Open) -> None:
    for type_url in WHOLE:
        here = stream_of(type_url)
        here.publish(Snapshot.unwritten())
        (answer,) = here.want(type_url)
        assert (answer.type_url, names_of(answer)) == (type_url, [])
        assert here.accept(answer) == []


def test_S16_S39_D8_what_nobody_ever_had_is_denied_as_usual(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.unwritten())
    answers = here.want(ENDPOINTS, "a")
    assert [list(answer.removed_resources) for answer in answers] == ([["a"]] if here.delta else [])


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S16_B34_who_holds_something_hears_nothing_until_something_is_written(stream_of: Open, type_url: str) -> None:
    names = ("a", "b") if type_url in BY_NAME else ()
    make = MAKERS[type_url]
    here = stream_of(type_url)
    here.publish(Snapshot.unwritten())
    assert come_back(here, type_url, *names) == []
    assert here.sent(after=3600) == []
    assert here.stream.next_try is None, "no polling"
    here.change(make("a", 7))
    (answer,) = here.sent()
    assert names_of(answer) == ["a"]
    if here.delta and names:
        assert list(answer.removed_resources) == ["b"]


def test_S16_what_is_written_first_may_be_nothing_and_is_believed(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    here.publish(Snapshot.unwritten())
    assert come_back(here, CLUSTER) == []
    here.change()
    (answer,) = here.sent() or here.sent(after=10)
    assert names_of(answer) == []
    if here.delta:
        assert list(answer.removed_resources) == ["a"]


def test_S16_each_type_is_held_for_itself(either: Client) -> None:
    either.publish(Snapshot.unwritten())
    assert come_back(either, CLUSTER) == []
    (answer,) = either.want(LISTENER)
    assert (answer.type_url, names_of(answer)) == (LISTENER, [])
    either.accept(answer)
    assert come_back(either, ENDPOINTS, "a") == []
    either.change(*web("a"), listener("l"))
    sent = either.sent()
    sent += either.accept(*sent)
    assert [answer.type_url for answer in sent] == [CLUSTER, ENDPOINTS, LISTENER], "in the order of always"


def test_S16_names_that_are_added_meanwhile_wait_too(either: Client) -> None:
    either.publish(Snapshot.unwritten())
    come_back(either, ENDPOINTS, "a")
    assert either.ask(ENDPOINTS, "a", "b") == []
    either.change(endpoints("a"), endpoints("b"))
    assert sorted(name for answer in either.sent() for name in names_of(answer)) == ["a", "b"]


def test_S16_S71_clusters_are_not_taken_by_a_rescue(either: Client) -> None:
    either.publish(Snapshot.unwritten())
    request = (discovery_pb2.DeltaDiscoveryRequest if either.delta else discovery_pb2.DiscoveryRequest)()
    request.type_url, request.node.id, request.node.user_agent_name = ENDPOINTS, "n", "envoy"
    if either.delta:
        request.initial_resource_versions["a"] = "of another time"
        request.resource_names_subscribe.append("a")
    else:
        request.version_info = "of another time"
        request.resource_names.append("a")
    either.stream.receive(request)
    assert either.sent() == []
    assert either.sent(after=Limits().rescue_after) == []
    assert either.sent(after=3600) == []
    either.change(*web("a"))
    assert [answer.type_url for answer in either.sent()] == [ENDPOINTS]


def test_S16_what_was_served_here_is_not_taken_either(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l")]))
    for type_url, names in ((CLUSTER, ()), (ENDPOINTS, ("a",)), (LISTENER, ())):
        either.accept(*either.want(type_url, *names))
    either.publish(Snapshot.unwritten())
    assert either.sent(after=3600) == []


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S16_S67_D18_over_the_wire(method: str) -> None:
    delta = method == DELTA
    a: Any = cluster("a")
    held = {"initial_resource_versions": {"a": a.version, "b": "x"}} if delta else {"version_info": "of another time"}
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.unwritten())
        assert server.serving
        back = await ask(channel, method, **held)
        fresh = await ask(channel, method, node="fresh")
        assert names_of(await read(fresh, delta=delta)) == []
        server.set_snapshot(Snapshot.of([a]))
        answer = await read(back, delta=delta)
        assert answer.nonce == "1" or not delta, "the first"
        assert names_of(answer) == ([] if delta else ["a"]), "it holds a"
        if delta:
            assert list(answer.removed_resources) == ["b"]


async def test_V19_S16_a_poller_that_holds_something_is_told_to_wait() -> None:
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.unwritten())
    request = discovery_pb2.DiscoveryRequest(node={"id": "n"})
    answer = await server.poll(CLUSTER, request)
    assert answer is not None
    assert answer.resources == ()
    request.version_info = "of another time"
    for again in (False, True):
        with pytest.raises(NotReadyError, match="nothing was ever written"):
            await server.poll(CLUSTER, request, again=again)
    server.set_snapshot(Snapshot.of([cluster("a")]))
    answer = await server.poll(CLUSTER, request)
    assert answer is not None
    assert [resource.name for resource in answer.resources] == ["a"]


def test_only_one_that_was_written_may_be_as_empty() -> None:
    unwritten = Snapshot.unwritten()
    written = unwritten.change()
    assert (unwritten.is_unwritten, written.is_unwritten, len(written)) == (True, False, 0)
    assert written.version(CLUSTER) == unwritten.version(CLUSTER) == Snapshot.of().version(CLUSTER)
    assert written.change() is written
    assert not Snapshot.of().is_unwritten
