"""A client that comes back, to this server or to another: versions and what they spare (S66 to S72)."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from live import DELTA, SOTW, ask, ended, read, serving
from scripted_client import MAKERS, Client, client, cluster, endpoints, kind_of, listener, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Snapshot
from xds_server.xds.sotw import SotwStream

Open = Callable[[str], Client]


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER], ids=kind_of)
def test_S66_S67_S70_a_returning_client_is_sent_a_whole_set_unless_it_holds_just_that(type_url: str) -> None:
    snapshot = Snapshot.of([*web("a"), listener("l")])
    for version, expected in ((snapshot.version(type_url), 0), ("of another time", 1), ("", 1)):
        for name in (None, type_url):
            back = client(SotwStream, name)
            back.publish(snapshot)
            assert len(back.ask(type_url, version=version)) == expected
            # Served on like any other.
            back.change(MAKERS[type_url]("later", 9))
            assert "later" in names_of(back.sent(after=1)[-1])


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER], ids=kind_of)
def test_S67_the_version_that_was_sent_is_the_one_that_spares_it(type_url: str) -> None:
    snapshot = Snapshot.of([*web("a"), listener("l")])
    first, back = client(SotwStream), client(SotwStream)
    for stream in (first, back):
        stream.publish(snapshot)
    (answer,) = first.want(type_url)
    assert back.ask(type_url, version=answer.version_info) == []


def test_S66_S67_what_changed_while_a_client_was_away_is_sent(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (answer,) = sotw.want(CLUSTER)
    back = client(SotwStream)
    back.stream._group_of = lambda node: sotw.group
    back.group = sotw.group
    sotw.change(cluster("b", 9))
    (answer,) = back.ask(CLUSTER, version=answer.version_info)
    assert names_of(answer) == ["a", "b"]


def test_S67_a_client_that_names_clusters_is_always_answered(sotw: Client) -> None:
    snapshot = Snapshot.of(web("a"))
    sotw.publish(snapshot)
    (answer,) = sotw.ask(CLUSTER, "a", version=snapshot.version(CLUSTER))
    assert names_of(answer) == ["a"], "the version of a whole set says nothing of a part"


def test_S67_D19_B11_named_types_are_always_answered_on_a_new_stream(stream_of: Open) -> None:
    snapshot = Snapshot.of(web("a", "b"))
    held = {name: resource.version for name in "ab" if (resource := snapshot.get(ENDPOINTS, name))}
    back = stream_of(ENDPOINTS)
    back.publish(snapshot)
    if back.delta:
        (answer,) = back.ask(ENDPOINTS, "a", "b", held=held)
    else:
        (answer,) = back.ask(ENDPOINTS, "a", "b", version=snapshot.version(ENDPOINTS))
    assert names_of(answer) == ["a", "b"], "nothing proves that the clusters there still have them"


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S68_S69_D22_versions_are_of_content(type_url: str) -> None:
    make = MAKERS[type_url]
    one = Snapshot.of([make("a", 1), make("b", 2)])
    other = Snapshot.of([make("b", 1), make("x", 1)]).change([make("a", 1), make("b", 2)], [(type_url, "x")])
    assert one.version(type_url) == other.version(type_url), "the same on every replica, after every restart"
    assert [r.version for r in one.resources(type_url)] == [r.version for r in other.resources(type_url)]
    for different in ([make("a", 1), make("b", 3)], [make("a", 1)], [make("a", 2), make("b", 1)], []):
        assert Snapshot.of(different).version(type_url) != one.version(type_url)
    assert make("a", 1).version != make("a", 2).version


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S68_S69_B19_after_a_restart_changed_content_reaches_a_client_of_before(method: str) -> None:
    delta = method == DELTA
    held = {}
    for seconds in (1, 2):  # as many changes since the start each time
        async with serving() as (server, channel):
            server.set_snapshot(snapshot := Snapshot.of([cluster("a", seconds)]))
            call = await ask(channel, method, **held)
            answer = await read(call, delta=delta)
            assert names_of(answer) == ["a"]
            resource: Any = snapshot.get(CLUSTER, "a")
            versions = {"initial_resource_versions": {"a": resource.version}}
            held = versions if delta else {"version_info": answer.version_info}


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S72_a_server_that_stops_ends_its_streams_in_order_and_another_serves_on(method: str) -> None:
    delta = method == DELTA
    for _ in range(2):
        async with serving() as (server, channel):
            server.set_snapshot(Snapshot.of([cluster("a"), endpoints("a")]))
            call = await ask(channel, method)
            assert names_of(await read(call, delta=delta)) == ["a"]
            await server.stop(5)
            assert (await ended(call))[0] == grpc.StatusCode.OK
            assert server.open_streams == 0
