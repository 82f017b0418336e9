"""A real discovery server on a free port, and raw gRPC calls to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from xds_server.xds import CLUSTER, DiscoveryServer

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
SOTW, DELTA = ADS + "StreamAggregatedResources", ADS + "DeltaAggregatedResources"


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[DiscoveryServer, Any]]:
    """A server, and a channel to it whose `address` is where it leads."""
    server = DiscoveryServer(**options)
    port = await server.start()
    try:
        # As Envoy does: messages of any length.
        any_length = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=any_length) as channel:
            channel.address = f"127.0.0.1:{port}"
            yield server, channel
    finally:
        await server.stop(0)


def request(type_url: str = CLUSTER, *names: str, delta: bool = False, node: str = "n", **more: Any) -> bytes:
    """An encoded request of either variant."""
    if delta:
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, **more)
    else:
        message = discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names, **more)
    message.node.id = node
    return message.SerializeToString()


async def ask(channel: grpc.aio.Channel, method: str = SOTW, type_url: str = CLUSTER, *names: str, **more: Any) -> Any:
    """A call with its first request sent."""
    call = channel.stream_stream(method)()
    await call.write(request(type_url, *names, delta="/Delta" in method, **more))
    return call


async def read(call: Any, *, delta: bool = False) -> Any:
    """The next response. Raises TimeoutError after 10 s, and EOFError when the stream has ended."""
    async with asyncio.timeout(10):
        try:
            raw = await call.read()
        except grpc.aio.AioRpcError:
            raw = grpc.aio.EOF
    if raw is grpc.aio.EOF:
        raise EOFError(f"{await call.code()}: {await call.details()}")
    kind = discovery_pb2.DeltaDiscoveryResponse if delta else discovery_pb2.DiscoveryResponse
    return kind.FromString(raw)


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """How the stream ends, within 10 s."""
    async with asyncio.timeout(10):
        return await call.code(), await call.details()
