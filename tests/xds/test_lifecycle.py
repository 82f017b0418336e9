"""Start, readiness, health checking, reflection, Fetch, and an end that nobody is hurt by."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import live
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from live import ADS, DELTA, SOTW, ask, ended, read, request, serving
from scripted_client import cluster, endpoints, names_of

from xds_server.xds import CLUSTER, DiscoveryServer, Event, Limits, Snapshot

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
CDS = "envoy.service.cluster.v3.ClusterDiscoveryService"


async def health_of(channel: grpc.aio.Channel, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)


async def test_S16_P16_health_says_serving_from_the_first_snapshot_until_the_stop() -> None:
    server = DiscoveryServer()
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await health_of(channel) == NOT_SERVING
        assert not server.serving
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=CDS))
        assert (await watch.read()).status == NOT_SERVING
        server.set_snapshot(Snapshot.of())
        async with asyncio.timeout(10):
            assert (await watch.read()).status == SERVING
        assert await health_of(channel) == await health_of(channel, ADS.strip("/")) == SERVING
        assert server.serving
        stopping = asyncio.create_task(server.stop())
        async with asyncio.timeout(10):
            assert (await watch.read()).status == NOT_SERVING
        await stopping
        assert not server.serving


async def test_a_server_with_a_snapshot_is_serving_at_once() -> None:
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.of())
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await health_of(channel) == SERVING
    await server.stop(0)


async def test_S1_reflection_describes_every_service() -> None:
    async with serving() as (_, channel):

        def describe() -> tuple[set[str], set[str]]:
            with grpc.insecure_channel(channel.address) as blocking:
                database = ProtoReflectionDescriptorDatabase(blocking)
                described = database.FindFileContainingSymbol(CDS)
                return set(database.get_services()), {
                    method.name for service in described.service for method in service.method
                }

        services, methods = await asyncio.to_thread(describe)
    assert {CDS, ADS.strip("/"), "grpc.health.v1.Health", "envoy.service.secret.v3.SecretDiscoveryService"} <= services
    assert methods == {"StreamClusters", "DeltaClusters", "FetchClusters"}


async def test_S16_a_stream_is_held_until_there_is_something_to_say() -> None:
    async with serving() as (server, channel):
        call = await ask(channel)
        reading = asyncio.create_task(read(call))
        await asyncio.wait([reading], timeout=0.3)
        assert not reading.done()
        server.set_snapshot(Snapshot.of([cluster("a")]))
        assert names_of(await reading) == ["a"]


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S72_P16_at_the_stop_streams_end_in_order_and_nothing_is_taken_away(method: str) -> None:
    events: list[Event] = []
    server = DiscoveryServer(observe=events.append)
    server.set_snapshot(Snapshot.of([cluster("a")]))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = await ask(channel, method)
        await read(call, delta=method == DELTA)
        await server.stop()
        assert await ended(call) == (grpc.StatusCode.OK, "")
    assert [event.detail for event in events if event.kind == "closed"] == ["the server stops"]
    assert len([event for event in events if event.kind == "sent"]) == 1


async def test_P16_many_streams_end_spread_over_the_drain_time() -> None:
    server = DiscoveryServer(limits=Limits(drain=1))
    server.set_snapshot(Snapshot.of([cluster("a")]))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [await ask(channel) for _ in range(300)]
        for call in calls:
            await read(call)
        began = time.monotonic()
        ends: list[float] = []

        async def end_of(call: Any) -> None:
            assert await call.code() == grpc.StatusCode.OK
            ends.append(time.monotonic() - began)

        await asyncio.gather(server.stop(), *(end_of(call) for call in calls))
        halves = [len([end for end in ends if low <= end < low + 0.5]) for low in (0, 0.5)]
        assert all(count > 90 for count in halves), "not all at once"
        assert max(ends) < 3


async def test_a_stopped_server_stops_twice_without_harm() -> None:
    server = DiscoveryServer()
    await server.start()
    await server.stop(0)
    await server.stop(0)


async def test_S1_fetch_answers_once_and_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds_server.xds.server.POLL_WAIT", 0.1)
    async with serving(identifier="me") as (server, channel):
        fetch = channel.unary_unary(f"/{CDS}/FetchClusters")
        with pytest.raises(grpc.aio.AioRpcError) as held:
            await fetch(request())
        assert held.value.code() == grpc.StatusCode.UNAVAILABLE
        server.set_snapshot(Snapshot.of([cluster("a"), cluster("b"), endpoints("a")]))
        for version in ("", Snapshot.of([cluster("a"), cluster("b")]).version(CLUSTER)):
            answer = discovery_pb2.DiscoveryResponse.FromString(await fetch(request(version_info=version)))
            assert names_of(answer) == ["a", "b"]
            assert answer.control_plane.identifier == "me"
        for raw in (b"\xff\xff", discovery_pb2.DiscoveryRequest().SerializeToString(), request("x.y/Z")):
            with pytest.raises(grpc.aio.AioRpcError) as wrong:
                await fetch(raw)
            assert wrong.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert wrong.value.details()


_CLIENT = """
import sys, threading, grpc
from live import SOTW, request
channel = grpc.insecure_channel(sys.argv[1])
def requests():
    yield request()
    threading.Event().wait()
for answer in channel.stream_stream(SOTW)(requests()):
    print("served", flush=True)
"""


async def test_B28_P13_P14_a_frozen_client_is_found_and_its_stream_closed() -> None:
    closed = asyncio.Event()
    limits = Limits(keepalive_time=1, keepalive_timeout=1)
    async with serving(limits=limits, observe=lambda e: e.kind == "closed" and closed.set()) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _CLIENT,
            channel.address,
            cwd=Path(live.__file__).parent,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert client.stdout is not None
            async with asyncio.timeout(20):
                assert await client.stdout.readline() == b"served\n"
                await asyncio.wait([asyncio.ensure_future(closed.wait())], timeout=2.5)
                assert not closed.is_set(), "one that is alive is left alone"
                client.send_signal(signal.SIGSTOP)
                await closed.wait()
            assert server.open_streams == 0
        finally:
            client.kill()
            await client.wait()


async def test_P12_B29_frequent_pings_do_not_cut_a_stream() -> None:
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.of([cluster("a")]))
    port = await server.start()
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call = await ask(channel)
        await read(call)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await call.code()
    await server.stop(0)
