"""The gRPC services: discovery by every name that Envoy and gRPC clients know, health checking, and reflection.

Handlers take and give raw bytes: responses are joined from resources that were encoded once, and requests are read by upb.
"""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from xds_server.xds.delta import DeltaStream
from xds_server.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
)
from xds_server.xds.sotw import SotwStream
from xds_server.xds.stream import Stream

StreamHandler = Callable[[type[Stream[Any]], str | None, Any], Awaitable[None]]
"""Serves one call: the variant of the protocol, the service's type (None on ADS), and the call's context."""
FetchHandler = Callable[[str, bytes, Any], Awaitable[bytes]]
"""Answers one request: the service's type, the request, and the call's context."""


class _Service(NamedTuple):
    name: str
    suffix: str
    """What its methods' names end with."""
    type_url: str | None
    module: str
    """Where its descriptor is."""


_V3: Final = "envoy.service."
_SERVICES: Final = (
    _Service(_V3 + "discovery.v3.AggregatedDiscoveryService", "AggregatedResources", None, "discovery.v3.ads_pb2"),
    _Service(_V3 + "cluster.v3.ClusterDiscoveryService", "Clusters", CLUSTER, "cluster.v3.cds_pb2"),
    _Service(_V3 + "endpoint.v3.EndpointDiscoveryService", "Endpoints", ENDPOINTS, "endpoint.v3.eds_pb2"),
    _Service(_V3 + "listener.v3.ListenerDiscoveryService", "Listeners", LISTENER, "listener.v3.lds_pb2"),
    _Service(_V3 + "route.v3.RouteDiscoveryService", "Routes", ROUTES, "route.v3.rds_pb2"),
    _Service(_V3 + "route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", SCOPED_ROUTES, "route.v3.srds_pb2"),
    _Service(_V3 + "secret.v3.SecretDiscoveryService", "Secrets", SECRET, "secret.v3.sds_pb2"),
    _Service(_V3 + "runtime.v3.RuntimeDiscoveryService", "Runtime", RUNTIME, "runtime.v3.rtds_pb2"),
    _Service(
        _V3 + "extension.v3.ExtensionConfigDiscoveryService",
        "ExtensionConfigs",
        EXTENSION_CONFIG,
        "extension.v3.config_discovery_pb2",
    ),
)


def add_discovery(server: grpc.aio.Server, stream: StreamHandler, fetch: FetchHandler) -> None:
    """Register Stream, Delta and Fetch of every service (S1); ADS has no Fetch."""
    for service in _SERVICES:
        methods = {
            f"Stream{service.suffix}": _streaming(stream, SotwStream, service.type_url),
            f"Delta{service.suffix}": _streaming(stream, DeltaStream, service.type_url),
        }
        if service.type_url is not None:
            methods[f"Fetch{service.suffix}"] = _unary(fetch, service.type_url)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.name, methods)])


def _streaming(handler: StreamHandler, variant: type[Stream[Any]], type_url: str | None) -> Any:
    async def serve(_: Any, context: Any) -> None:
        await handler(variant, type_url, context)

    return grpc.stream_stream_rpc_method_handler(serve)


def _unary(handler: FetchHandler, type_url: str) -> Any:
    async def answer(raw: bytes, context: Any) -> bytes:
        return await handler(type_url, raw, context)

    return grpc.unary_unary_rpc_method_handler(answer)


def add_reflection(server: grpc.aio.Server) -> None:
    """Let tools such as grpcurl list and call what is registered."""
    for service in _SERVICES:
        importlib.import_module(_V3 + service.module)
    names = [service.name for service in _SERVICES]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)


class Health:
    """`grpc.health.v1.Health`: NOT_SERVING until there is something to serve, and again from when the server stops."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, *, serving: bool) -> None:
        """Tell those who ask and those who watch, for the server as a whole and for each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.name for service in _SERVICES)):
            await self._servicer.set(name, status)
