"""How a gRPC client finds its cluster, and what it does with each RPC: `Listener` and `RouteConfiguration`.

gRPC reads of a route: timeout (A31), retries by gRPC status (A44), what is hashed (A42).
"""

from datetime import timedelta
from typing import Any, Final

from envoy.config.listener.v3 import api_listener_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xds_server.upstreams.model import BackOff, HashKey, Retries, Upstream
from xds_server.upstreams.model.upstream import HASHING
from xds_server.upstreams.translate.messages import duration, from_ads, packed
from xds_server.upstreams.translate.retries import retry_back_off

GRPC_RETRY_CONDITIONS: Final = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
"""What gRPC retries when it is told to (A44)."""

TRANSPARENT_RETRY_CONDITIONS: Final = ("connect-failure", "refused-stream")
"""What gRPC does on its own accord: an RPC that no target has begun to answer goes to another one (A6)."""

MOST_RETRIES: Final = 4
"""A client makes five attempts at most, whatever `num_retries` says (A6)."""

TIMEOUT_MARGIN: Final = timedelta(seconds=2)
"""What is added to `timeout`: C++ and Python (1.85) end RPCs 1 to 2 s before a route's limit, so 1s would fail them all."""

_CHANNEL_ID: Final = "io.grpc.channel_id"


def proxyless_listener(name: str, upstream: Upstream) -> Any:
    """The `Listener` that a client of `xds:///name` asks for (A27): where its routes are."""
    manager = http_connection_manager_pb2.HttpConnectionManager(
        stat_prefix=upstream.name, rds={"config_source": from_ads(), "route_config_name": upstream.name}
    )
    # Last, there, and with a typed_config: clients refuse the Listener otherwise (R10, R23).
    manager.http_filters.add(name="envoy.filters.http.router", typed_config=packed(router_pb2.Router()))
    return listener_pb2.Listener(name=name, api_listener=api_listener_pb2.ApiListener(api_listener=packed(manager)))


def proxyless_routes(upstream: Upstream) -> Any:
    """The `RouteConfiguration` named like the upstream: everything goes to its cluster, whatever name the client wrote."""
    action = route_components_pb2.RouteAction(cluster=upstream.name)
    if upstream.timeout:
        # gRPC does not read RouteAction.timeout. Without this there is no limit but the client's own deadline.
        action.max_stream_duration.max_stream_duration.CopyFrom(duration(upstream.timeout + TIMEOUT_MARGIN))
    if upstream.retries is not None and (conditions := grpc_retry_conditions(upstream.retries)):
        action.retry_policy.retry_on = ",".join(conditions)
        action.retry_policy.num_retries.value = upstream.retries.attempts
        if upstream.retries.back_off != BackOff():
            action.retry_policy.retry_back_off.CopyFrom(retry_back_off(upstream.retries.back_off))
    if upstream.algorithm in HASHING:
        keys = [key for key in hash_keys(upstream) if is_hashed(key)]
        for index, key in enumerate(keys):
            # Terminal entries end the search when they found something: the later ones are fallbacks, not parts.
            action.hash_policy.append(_hash_policy(key, terminal=index < len(keys) - 1))
    route = route_components_pb2.Route(match=route_components_pb2.RouteMatch(prefix=""), route=action)
    host = route_components_pb2.VirtualHost(name=upstream.name, domains=["*"], routes=[route])
    return route_pb2.RouteConfiguration(name=upstream.name, virtual_hosts=[host])


def grpc_retry_conditions(retries: Retries) -> tuple[str, ...]:
    """Those of `retries.on` that clients are told, each once."""
    return tuple(dict.fromkeys(condition for condition in retries.on if condition in GRPC_RETRY_CONDITIONS))


def hash_keys(upstream: Upstream) -> tuple[HashKey, ...]:
    """`hash_on` with its default."""
    return upstream.hash_on or (HashKey(source_ip=True),)


def is_hashed(key: HashKey) -> bool:
    """Whether gRPC has the like of it. Cookies and query parameters it has not; binary metadata it does not hash."""
    if key.header:
        return not key.header.endswith("-bin")
    return key.source_ip or key.path


def _hash_policy(key: HashKey, *, terminal: bool) -> Any:
    policy = route_components_pb2.RouteAction.HashPolicy(terminal=terminal)
    if key.source_ip:
        policy.filter_state.key = _CHANNEL_ID  # a client process is one source, and so is its channel
    else:
        policy.header.header_name = key.header or ":path"  # RPC paths have no query
    return policy
