"""What the recorder reads from the wire: responses, without the help of the code that wrote them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from xds_server.xds import LISTENER, ROUTES


class Entry(NamedTuple):
    """One resource of a response."""

    name: str
    """The body's own name."""
    type_url: str
    body: bytes
    tracked_as: str
    """Delta: the name that it is sent under. SotW: the body's own."""
    version: str | None
    """Delta: the resource's. SotW: None."""


class Message(NamedTuple):
    """A response of either variant."""

    type_url: str
    nonce: str
    version: str
    entries: tuple[Entry, ...]
    removed: tuple[str, ...]


def read_response(payload: bytes, *, delta: bool) -> Message:
    """Raises DecodeError when it is no such response."""
    if delta:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(payload)
        entries = tuple(
            Entry(own_name(body := r.resource.value), r.resource.type_url, body, r.name, r.version)
            for r in response.resources
        )
        version, removed = response.system_version_info, tuple(response.removed_resources)
    else:
        response = discovery_pb2.DiscoveryResponse.FromString(payload)
        entries = tuple(
            Entry(name := own_name(body := r.value), r.type_url, body, name, None) for r in response.resources
        )
        version, removed = response.version_info, ()
    return Message(response.type_url, response.nonce, version, entries, removed)


def own_name(body: bytes) -> str:
    """The name in an encoded resource: all kinds have it in field 1, which a deterministic writer puts first."""
    if body[:1] != b"\x0a":
        return ""
    length, shift, at = 0, 0, 1
    while at < len(body):
        byte = body[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return body[at : at + length].decode(errors="replace")


@lru_cache(maxsize=512)
def clusters_in(type_url: str, body: bytes) -> frozenset[str]:
    """The clusters that routes or a listener direct traffic to."""
    names: set[str] = set()
    try:
        if type_url == ROUTES:
            _add_routes(route_pb2.RouteConfiguration.FromString(body), names)
        elif type_url == LISTENER:
            _add_listener(listener_pb2.Listener.FromString(body), names)
    except DecodeError:
        pass
    return frozenset(names)


def _add_routes(routes: Any, names: set[str]) -> None:
    for host in routes.virtual_hosts:
        for route in host.routes:
            action: route_components_pb2.RouteAction = route.route
            names.add(action.cluster)
            names.update(weighted.name for weighted in action.weighted_clusters.clusters)
            names.update(mirror.cluster for mirror in action.request_mirror_policies)
    names.discard("")


def _add_listener(listener: Any, names: set[str]) -> None:
    chains = [*listener.filter_chains, listener.default_filter_chain]
    configs = [each.typed_config for chain in chains for each in chain.filters]
    for config in (*configs, listener.api_listener.api_listener):
        manager = http_connection_manager_pb2.HttpConnectionManager()
        proxy = tcp_proxy_pb2.TcpProxy()
        if config.Unpack(manager):
            _add_routes(manager.route_config, names)
        elif config.Unpack(proxy):
            names.add(proxy.cluster)
            names.update(weighted.name for weighted in proxy.weighted_clusters.clusters)
    names.discard("")
