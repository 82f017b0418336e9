"""The server over real gRPC: services, statuses, groups, start and stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from scripted_client import cluster, endpoints, names_of

from xds_server.xds import CLUSTER, ENDPOINTS, AddressInUseError, DiscoveryServer, Event, Node, Snapshot

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
Request, Response = discovery_pb2.DiscoveryRequest, discovery_pb2.DiscoveryResponse
DeltaRequest, DeltaResponse = discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[DiscoveryServer, grpc.aio.Channel]]:
    server = DiscoveryServer(**options)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield server, channel
        finally:
            await server.stop(0)


def node(id: str = "n", group: str = "") -> dict[str, Any]:
    return {"id": id, "cluster": group}


async def read(call: Any, kind: Any) -> Any:
    async with asyncio.timeout(10):
        return kind.FromString(await call.read())


@pytest.mark.parametrize(
    ("method", "type_url"),
    [
        (ADS + "StreamAggregatedResources", CLUSTER),
        ("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters", ""),
        ("/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints", ""),
        (ADS + "DeltaAggregatedResources", CLUSTER),
        ("/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters", ""),
        ("/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints", ""),
    ],
)
async def test_s1_every_service_is_the_same_engine(method: str, type_url: str) -> None:
    delta = "/Delta" in method
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a"), endpoints("a")]))
        call = channel.stream_stream(method)()
        names = ["a"] if "Endpoint" in method else []
        if delta:
            request = DeltaRequest(type_url=type_url, node=node(), resource_names_subscribe=names)
        else:
            request = Request(type_url=type_url, node=node(), resource_names=names)
        await call.write(request.SerializeToString())
        answer = await read(call, DeltaResponse if delta else Response)
        assert names_of(answer) == ["a"]
        assert answer.type_url == (ENDPOINTS if names else CLUSTER)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (Request(type_url=CLUSTER).SerializeToString(), "node"),
        (Request(node=node()).SerializeToString(), "type_url"),
        (b"\xff\xff\xff", "DiscoveryRequest"),
    ],
)
async def test_s6_a_wrong_request_ends_its_stream_with_a_reason(raw: bytes, words: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of())
        call = channel.stream_stream(ADS + "StreamAggregatedResources")()
        await call.write(raw)
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert words in await call.details()


async def test_s3_a_per_type_service_refuses_other_types() -> None:
    async with serving() as (_, channel):
        call = channel.stream_stream("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters")()
        await call.write(Request(node=node(), type_url=ENDPOINTS).SerializeToString())
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_groups_are_served_apart_and_nodes_can_move() -> None:
    members = {"n": "blue"}
    async with serving(group_of=lambda node: members[node.id]) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("b")]), "blue")
        server.set_snapshot(Snapshot.of([cluster("g")]), "green")
        call = channel.stream_stream(ADS + "DeltaAggregatedResources")()
        await call.write(DeltaRequest(type_url=CLUSTER, node=node()).SerializeToString())
        assert names_of(await read(call, DeltaResponse)) == ["b"]
        members["n"] = "green"
        server.regroup()
        moved = await read(call, DeltaResponse)
        assert (names_of(moved), list(moved.removed_resources)) == (["g"], ["b"])


async def test_a_change_reaches_every_stream_that_wants_it_and_no_other() -> None:
    events: list[Event] = []
    async with serving(observe=events.append) as (server, channel):
        base = Snapshot.of([endpoints("a"), endpoints("b")])
        server.set_snapshot(base)
        calls = {}
        for name in ("a", "b"):
            calls[name] = channel.stream_stream(ADS + "DeltaAggregatedResources")()
            request = DeltaRequest(type_url=ENDPOINTS, node=node(name), resource_names_subscribe=[name])
            await calls[name].write(request.SerializeToString())
            await read(calls[name], DeltaResponse)
        events.clear()
        server.set_snapshot(base.change([endpoints("a", 5)]))
        assert names_of(await read(calls["a"], DeltaResponse)) == ["a"]
        assert [(event.kind, event.node and event.node.id) for event in events] == [("sent", "a")]


async def test_two_servers_never_share_a_port() -> None:
    server = DiscoveryServer()
    taken = await server.start()
    try:
        with pytest.raises(AddressInUseError, match=str(taken)):
            await DiscoveryServer().start(f"127.0.0.1:{taken}")
    finally:
        await server.stop(0)


async def test_s72_stopping_ends_streams_without_an_error_and_frees_them() -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        call = channel.stream_stream(ADS + "StreamAggregatedResources")()
        await call.write(Request(type_url=CLUSTER, node=node()).SerializeToString())
        await read(call, Response)
        await server.stop(5)
        assert await call.code() == grpc.StatusCode.OK


async def test_p20_streams_that_end_leave_nothing() -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        before = len(asyncio.all_tasks())
        for _ in range(50):
            call = channel.stream_stream(ADS + "DeltaAggregatedResources")()
            await call.write(DeltaRequest(type_url=CLUSTER, node=node()).SerializeToString())
            await read(call, DeltaResponse)
            call.cancel()
        async with asyncio.timeout(10):
            while server._streams or len(asyncio.all_tasks()) > before + 2:
                await asyncio.sleep(0.01)


async def test_another_reader_of_envoys_protos_understands_our_bytes() -> None:
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse

    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a", 7)]))
        call = channel.stream_stream(ADS + "DeltaAggregatedResources")()
        await call.write(DeltaRequest(type_url=CLUSTER, node=node()).SerializeToString())
        response = DeltaDiscoveryResponse.parse(await call.read())
        (resource,) = response.resources
        assert (response.type_url, resource.name) == (CLUSTER, "a")
        assert resource.resource is not None
        assert Cluster.parse(resource.resource.value).name == "a"


def test_a_node_is_what_the_bootstrap_says() -> None:
    request = Request(type_url=CLUSTER, node=node("edge-1", "edge"))
    request.node.locality.zone = "eu-1a"
    request.node.metadata["tier"] = "gold"
    seen = Node.of(request.node)
    assert (seen.id, seen.cluster, seen.zone, seen.metadata) == ("edge-1", "edge", "eu-1a", {"tier": "gold"})
