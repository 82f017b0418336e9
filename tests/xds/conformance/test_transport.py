"""Streams over real connections: slow and vanished clients, many streams, and what they cost (P5 to P7, P17, P20, P23)."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from live import DELTA, SOTW, ask, read, request, serving
from scripted_client import Client, cluster, endpoints, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, Event, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import Group
from xds_server.xds.resource import InvalidResourceError
from xds_server.xds.sotw import SotwStream
from xds_server.xds.stream import Stream

BOTH = pytest.mark.parametrize("method", [SOTW, DELTA], ids=["sotw", "delta"])


def big(name: str, version: int, bytes_: int = 1_000_000) -> Resource:
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    message.endpoints.add().locality.zone = str(version) + "z" * bytes_
    return Resource.of(message)


class Pipe:
    """A connection to a server that can be held up or torn, as networks do."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self.address = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Pipe"]:
        listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.go_on()
            self.tear()
            listening.close()

    def hold(self) -> None:
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def tear(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*self._to)
        self._writers += [writer, there[1]]
        await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def through_a_pipe(channel: Any) -> AsyncIterator[tuple[Pipe, grpc.aio.Channel]]:
    host, _, port = channel.address.rpartition(":")
    async with Pipe(host, int(port)).running() as pipe:
        any_length = [("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(pipe.address, options=any_length) as slow:
            yield pipe, slow


@BOTH
async def test_P5_P6_B24_a_client_that_does_not_read_keeps_nobody_waiting_and_gets_the_newest_at_last(
    method: str,
) -> None:
    delta = method == DELTA
    events: list[Event] = []

    def told(kind: str, node: str) -> int:
        return sum(event.kind == kind and event.node is not None and event.node.id == node for event in events)

    def answer_to(response: Any) -> bytes:
        return request(ENDPOINTS, *(() if delta else "a"), delta=delta, response_nonce=response.nonce)

    async with serving(observe=events.append) as (server, channel):
        server.set_snapshot(snapshot := Snapshot.of([big("a", 0)]))
        async with through_a_pipe(channel) as (pipe, slow_channel):
            slow = await ask(slow_channel, method, ENDPOINTS, "a", node="slow")
            await slow.write(answer_to(await read(slow, delta=delta)))
            quick = await ask(channel, method, ENDPOINTS, "a", node="quick")
            await quick.write(answer_to(await read(quick, delta=delta)))
            pipe.hold()
            for number in range(1, 13):  # each of them more than a connection holds
                snapshot = snapshot.change([big("a", number, 8_000_000)])
                server.set_snapshot(snapshot)
                await quick.write(answer_to(await read(quick, delta=delta)))
            assert told("sent", "slow") < 5, "its writer waits, and nothing is queued"
            pipe.go_on()
            newest, received = big("a", 12, 8_000_000).body, [b""]
            while newest not in received[-1]:
                response = await read(slow, delta=delta)
                received.append(response.SerializeToString())
                await slow.write(answer_to(response))
            assert told("sent", "slow") < 6, "what it had no time for is skipped"
            assert told("closed", "slow") == 0


@BOTH
async def test_P7_B23_a_connection_that_is_torn_while_it_is_written_to_ends_its_stream(method: str) -> None:
    closed, sending = asyncio.Event(), asyncio.Event()

    def observe(event: Event) -> None:
        if event.kind == "closed":
            closed.set()
        elif event.kind == "sent" and event.nonce == "2":
            sending.set()

    async with serving(observe=observe) as (server, channel):
        server.set_snapshot(snapshot := Snapshot.of([big("a", 0)]))
        async with through_a_pipe(channel) as (pipe, slow_channel):
            slow = await ask(slow_channel, method, ENDPOINTS, "a")
            await read(slow, delta=method == DELTA)
            pipe.hold()
            server.set_snapshot(snapshot.change([big("a", 1, 20_000_000)]))  # more than fits anywhere
            async with asyncio.timeout(30):
                await sending.wait()
                pipe.tear()
                await closed.wait()
            assert server.open_streams == 0, "the client sees the end, and comes back to be told the rest"


@BOTH
async def test_P17_per_type_streams_of_many_clients_are_all_served(method: str) -> None:
    service = "/envoy.service.{}.v3.{}DiscoveryService/" + ("Delta" if method == DELTA else "Stream")
    clusters = service.format("cluster", "Cluster") + "Clusters"
    assignments = service.format("endpoint", "Endpoint") + "Endpoints"
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of(web("a")))
        calls = []
        for number in range(150):
            calls.append(await ask(channel, clusters, CLUSTER, node=f"n{number}"))
            calls.append(await ask(channel, assignments, ENDPOINTS, "a", node=f"n{number}"))
        assert [names_of(await read(call, delta=method == DELTA)) for call in calls] == [["a"]] * 300
        assert server.open_streams == 300
        server.set_snapshot(Snapshot.of(web("a", seconds=9)))
        # Per type each stream paces itself; clusters are not acknowledged here, and come at once in delta.
        assert len([await read(call, delta=method == DELTA) for call in calls]) == 300


def living_streams() -> int:
    gc.collect()
    return sum(isinstance(thing, Stream) for thing in gc.get_objects())


@BOTH
async def test_P20_B30_a_thousand_streams_that_end_leave_nothing(method: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of(web("a")))
        before, streams = len(asyncio.all_tasks()), living_streams()
        for _ in range(20):
            calls = [await ask(channel, method, CLUSTER, node=f"n{number}") for number in range(50)]
            for call in calls:
                await read(call, delta=method == DELTA)
                call.cancel()
        async with asyncio.timeout(10):
            while server.open_streams or len(asyncio.all_tasks()) > before + 2:
                await asyncio.sleep(0.01)
        assert living_streams() <= streams
        assert server.clients == ()


@BOTH
async def test_P20_a_node_that_left_with_a_nack_leaves_no_stream(method: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        for _ in range(20):
            call = await ask(channel, method)
            answer = await read(call, delta=method == DELTA)
            refusal = {"response_nonce": answer.nonce, "error_detail": {"code": 13, "message": "no"}}
            await call.write(request(CLUSTER, delta=method == DELTA, **refusal))
            await call.done_writing()
            await call.code()
        async with asyncio.timeout(10):
            while server.open_streams:
                await asyncio.sleep(0.01)
        assert len(server._memory) <= 1, "one node and one name, however often"


def test_P22_an_invalid_resource_is_refused_when_it_is_made_and_touches_no_other() -> None:
    with pytest.raises(InvalidResourceError, match="connect_timeout"):
        cluster("bad", 0)
    assert Snapshot.of([cluster("good")]).count(CLUSTER) == 1


def test_P23_streams_of_a_group_share_the_bytes_of_a_response() -> None:
    for kind in (SotwStream, DeltaStream):
        group = Group("g")
        group.publish(Snapshot.of([cluster("a"), cluster("b"), endpoints("a")]))
        for number in range(10):
            client = Client(kind(lambda node, group=group: group), group, [])
            assert names_of(client.ask(CLUSTER, node=f"n{number}")[0]) == ["a", "b"]
            assert names_of(client.ask(ENDPOINTS, "a")[0]) == ["a"]
        # A delta response of one resource is that resource's own bytes.
        assert len(group._bodies) == (2 if kind is SotwStream else 1)
