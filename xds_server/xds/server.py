"""The discovery server: binds the protocol's state machines to grpc.aio. All input and output of the protocol is here.

Handlers take and give raw bytes: responses are joined from resources that were encoded once, and requests are read by
upb. One writer per stream, and nothing is queued: what to send is decided when it is sent.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Container, Coroutine
from contextlib import suppress
from typing import Any

import grpc

from xds_server.xds.delta import DeltaStream
from xds_server.xds.events import Event, Observer
from xds_server.xds.group import Group
from xds_server.xds.node import Node
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
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.sotw import SotwStream
from xds_server.xds.stream import InvalidRequestError, Stream

MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""A returning delta client echoes every name and version that it holds, so the 4 MiB of gRPC are too few (P2, P3)."""

_SERVICES: tuple[tuple[str, str, str | None], ...] = (
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", None),
    ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", CLUSTER),
    ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", ENDPOINTS),
    ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", LISTENER),
    ("envoy.service.route.v3.RouteDiscoveryService", "Routes", ROUTES),
    ("envoy.service.route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", SCOPED_ROUTES),
    ("envoy.service.secret.v3.SecretDiscoveryService", "Secrets", SECRET),
    ("envoy.service.runtime.v3.RuntimeDiscoveryService", "Runtime", RUNTIME),
    ("envoy.service.extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", EXTENSION_CONFIG),
)
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two servers would share a port in silence
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # Find dead clients (P13), and let clients look for a dead server as often as they like (P12, P14).
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class AddressInUseError(OSError):
    """The server cannot listen where it was told to."""


class DiscoveryServer:
    """Serves snapshots to xDS clients, state-of-the-world and incremental, aggregated and per type.

    `group_of` names the group that a node belongs to; every group has a snapshot of its own. Clients of a group without
    a snapshot are held until there is one: an empty answer would take everything from them (S16).
    """

    def __init__(
        self,
        group_of: Callable[[Node], str] = lambda node: "",
        *,
        observe: Observer | None = None,
        identifier: str = "",
    ) -> None:
        """`identifier`: name of this server, which its clients show (Envoy: the stat `control_plane.identifier`)."""
        self._name_of = group_of
        self._identifier = identifier
        self._observers: list[Observer] = [observe] if observe is not None else []
        self._groups: dict[str, Group] = {}
        self._streams: dict[Stream[Any], asyncio.Event] = {}
        self._server: grpc.aio.Server | None = None
        self._stopping = asyncio.Event()

    # Content

    def set_snapshot(self, snapshot: Snapshot, group: str = "") -> None:
        """Serve `snapshot` to a group from now on. Costs the changed names times the group's streams at most."""
        here = self._group(group)
        old = here.snapshot
        if snapshot is old:
            return
        here.publish(snapshot)
        for stream, wake in self._streams.items():
            if stream.group is here and stream.advance(old, snapshot):
                wake.set()

    def snapshot(self, group: str = "") -> Snapshot | None:
        """What a group is served; None before the first `set_snapshot`."""
        known = self._groups.get(group)
        return known.snapshot if known is not None else None

    def regroup(self) -> None:
        """Ask `group_of` again for every connected node, after its answer may have changed."""
        for stream, wake in self._streams.items():
            if stream.node is not None and stream.group is not (group := self._group_of(stream.node)):
                stream.move(group)
                wake.set()

    def drop_groups(self, keep: Container[str] = ()) -> None:
        """Forget the groups that have no stream, with their snapshots, except those in `keep`."""
        used = {stream.group.name for stream in self._streams if stream.group is not None}
        self._groups = {name: group for name, group in self._groups.items() if name in used or name in keep}

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups that were ever asked for or given a snapshot."""
        return tuple(self._groups)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Have `observer` called with every `Event`; call what is returned to end that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def _group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(name))

    def _group_of(self, node: Node) -> Group:
        return self._group(self._name_of(node))

    def _observe(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    # Service

    async def start(self, address: str = "127.0.0.1:0") -> int:
        """Listen on `address` (port 0: any free one) and return the port. Raises AddressInUseError."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers([handler for service in _SERVICES for handler in self._handlers(*service)])
        try:
            port = server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise AddressInUseError(f"cannot listen on {address}: the address is in use or not of this machine")
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float = 1.0) -> None:
        """End all streams, which clients take for a reason to reconnect, and close the port. `grace` in seconds."""
        self._stopping.set()
        for wake in self._streams.values():
            wake.set()
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None

    def _handlers(self, service: str, suffix: str, type_url: str | None) -> list[Any]:
        methods = {
            f"Stream{suffix}": grpc.stream_stream_rpc_method_handler(self._method(SotwStream, type_url)),
            f"Delta{suffix}": grpc.stream_stream_rpc_method_handler(self._method(DeltaStream, type_url)),
        }
        return [grpc.method_handlers_generic_handler(service, methods)]

    def _method(
        self, variant: type[Stream[Any]], type_url: str | None
    ) -> Callable[[AsyncIterator[bytes], Any], Coroutine[Any, Any, None]]:
        async def serve(_: AsyncIterator[bytes], context: Any) -> None:
            stream = variant(self._group_of, type_url=type_url, observe=self._observe, identifier=self._identifier)
            await self._serve(stream, context)

        return serve

    async def _serve(self, stream: Stream[Any], context: Any) -> None:
        wake = self._streams[stream] = asyncio.Event()
        reader = asyncio.create_task(self._read(stream, wake, context))
        reader.add_done_callback(lambda _: wake.set())
        detail = "the client left"
        try:
            while not reader.done() and not self._stopping.is_set():
                wake.clear()
                while (response := stream.respond(time.monotonic())) is not None:
                    await context.write(response.payload)
                await _wait(wake, stream.next_try)
            if reader.done() and (error := reader.exception()) is not None:
                raise error
        except InvalidRequestError as error:
            detail = str(error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)
        finally:
            reader.cancel()
            self._streams.pop(stream, None)
            stream.close("the server stops" if self._stopping.is_set() else detail)

    async def _read(self, stream: Stream[Any], wake: asyncio.Event, context: Any) -> None:
        with suppress(grpc.aio.UsageError):  # the call ended while a read was under way
            while (raw := await context.read()) is not _EOF:
                stream.receive(_parse(stream, raw))
                wake.set()


def _parse(stream: Stream[Any], raw: bytes) -> Any:
    try:
        return stream.request.FromString(raw)
    except Exception as error:
        raise InvalidRequestError(f"not a {stream.request.DESCRIPTOR.name}: {error}") from None


async def _wait(wake: asyncio.Event, until: float | None) -> None:
    if until is None:
        await wake.wait()
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await wake.wait()
