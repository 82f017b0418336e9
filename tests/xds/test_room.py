"""First answers to many clients at once: only so much of them is held at a time, and nobody waits for ever."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from scripted_client import cluster

from xds_server.xds import CLUSTER, Limits, Snapshot
from xds_server.xds.group import Group
from xds_server.xds.room import Room
from xds_server.xds.sotw import SotwStream
from xds_server.xds.streaming import Streaming

STREAMS = 10


class Slow:
    """A call whose client asks for clusters, and takes what it is sent when it is told to."""

    def __init__(self, number: int) -> None:
        request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id = f"n{number}"
        self.requests = [request.SerializeToString()]
        self.sent = 0
        self.takes = asyncio.Event()

    async def read(self) -> bytes:
        if self.requests:
            return self.requests.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def write(self, payload: bytes) -> None:
        self.sent += len(payload)
        await self.takes.wait()


@pytest.fixture
def group() -> Group:
    made = Group("")
    made.publish(Snapshot.of([cluster(f"c{number:02}") for number in range(20)]))
    return made


@pytest.fixture
def calls() -> Iterator[tuple[list[Slow], list[asyncio.Task[None]]]]:
    tasks: list[asyncio.Task[None]] = []
    yield [Slow(number) for number in range(STREAMS)], tasks
    for task in tasks:
        task.cancel()


def serve(streaming: Streaming, group: Group, call: Slow) -> "asyncio.Task[None]":
    return asyncio.create_task(streaming.serve(SotwStream(lambda _: group), call))


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_first_answers_take_turns_where_there_is_not_room_for_all(group: Group, calls: Any) -> None:
    slow, tasks = calls
    room = Room(most=1, patience=60)
    streaming = Streaming(Limits(), room=room)
    tasks += [serve(streaming, group, call) for call in slow]
    for count in range(1, STREAMS + 1):
        await until(lambda count=count: len(room._waiting) == STREAMS - count)
        served = [call for call in slow if call.sent]
        assert len(served) == count, "one at a time"
        for call in served:
            call.takes.set()
    assert len({call.sent for call in slow}) == 1


async def test_changes_need_no_room(group: Group, calls: Any) -> None:
    slow, tasks = calls
    streaming = Streaming(Limits(), room=Room(most=1, patience=60))
    stream = SotwStream(lambda _: group)
    tasks.append(asyncio.create_task(streaming.serve(stream, slow[0])))
    await until(lambda: slow[0].sent)
    slow[0].takes.set()
    tasks.append(serve(streaming, group, slow[1]))
    await until(lambda: slow[1].sent)  # and holds all room from now on
    before, first = group.snapshot, slow[0].sent
    slow[0].requests.append(
        discovery_pb2.DiscoveryRequest(type_url=CLUSTER, response_nonce="1", version_info="x").SerializeToString()
    )
    assert before is not None
    stream.receive(discovery_pb2.DiscoveryRequest.FromString(slow[0].requests.pop()))
    group.publish(before.change([cluster("c00", 9)]))
    assert stream.advance(before, group.snapshot)  # type: ignore[arg-type]
    streaming.wake(stream)
    await until(lambda: slow[0].sent > first)


async def test_clients_that_stand_still_keep_nobody_from_being_served(group: Group, calls: Any) -> None:
    slow, tasks = calls
    streaming = Streaming(Limits(), room=Room(most=1, patience=0.01))
    tasks += [serve(streaming, group, call) for call in slow]
    await until(lambda: all(call.sent for call in slow))


async def test_who_leaves_while_it_waits_gives_its_turn_to_the_next() -> None:
    room = Room(most=1, patience=60)
    with ExitStack() as held:
        held.enter_context(room.take(5))
        one, two = (asyncio.create_task(room.enter()) for _ in range(2))
        await until(lambda: len(room._waiting) == 2)
    assert not one.done(), "it was told, and did not go on yet"
    one.cancel()
    async with asyncio.timeout(20):
        await two
    assert one.cancelled()
    assert not room._waiting


async def test_who_waits_is_sent_nothing_more_when_the_server_stops(group: Group, calls: Any) -> None:
    slow, tasks = calls
    room = Room(most=1, patience=60)
    streaming = Streaming(Limits(drain=0), room=room)
    tasks += [serve(streaming, group, call) for call in slow]
    await until(lambda: len(room._waiting) == STREAMS - 1)
    streaming.stop()
    for call in slow:
        call.takes.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)
    assert sum(bool(call.sent) for call in slow) == 1
