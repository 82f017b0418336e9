"""Virtual host names: `route.v3.VirtualHost`, and the one RouteConfiguration that all HTTP gateways share."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.host_names import host_rewrite
from xds_server.upstreams.translate.messages import duration
from xds_server.upstreams.translate.retries import retry_policy
from xds_server.xds.resource import length_delimited

ROUTES_NAME: Final = "xds-server"
"""Name of the RouteConfiguration."""

IDLE_TIMEOUT: Final = timedelta(minutes=5)
"""How long an answer may stand still unless told. There is no other limit unless `timeout` is set: model servers stream for
minutes."""


def virtual_host(upstream: Upstream) -> Any:
    """The upstream as a `VirtualHost` that sends everything to its cluster, or None for plain TCP.

    Domains are the upstream's name, then its `hostnames`, sorted.
    """
    if upstream.protocol == "tcp":
        return None
    action = route_components_pb2.RouteAction(
        cluster=upstream.name,
        timeout=duration(upstream.timeout),  # 0s is none; when absent, Envoy cuts every answer at 15 s
        idle_timeout=duration(_idle_timeout(upstream)),
    )
    if upstream.retries is not None:
        action.retry_policy.CopyFrom(retry_policy(upstream.retries))
    rewrite = host_rewrite(upstream)
    if rewrite == "from-endpoint":
        action.auto_host_rewrite.value = True
    elif rewrite == "literal":
        action.host_rewrite_literal = upstream.host_header
    route = route_components_pb2.Route(match=route_components_pb2.RouteMatch(prefix="/"), route=action)
    domains = [upstream.name, *sorted(upstream.hostnames)]
    return route_components_pb2.VirtualHost(name=upstream.name, domains=domains, routes=[route])


def _idle_timeout(upstream: Upstream) -> timedelta:
    return max(IDLE_TIMEOUT, upstream.timeout) if upstream.idle_timeout is None else upstream.idle_timeout


def route_configuration(virtual_hosts: Iterable[Any]) -> Any:
    """The RouteConfiguration `ROUTES_NAME` with `virtual_hosts`, sorted by name. A host that is in none gets 404."""
    ordered = sorted(virtual_hosts, key=lambda host: host.name)
    return route_pb2.RouteConfiguration(
        name=ROUTES_NAME,
        virtual_hosts=ordered,
        # The port does not choose the upstream, but targets see the Host that the client sent.
        ignore_port_in_host_matching=True,
    )


def encode_route_configuration(encoded_virtual_hosts: Iterable[bytes]) -> bytes:
    """What `route_configuration` encodes to, from virtual hosts that are encoded already, sorted by name.

    One host of 10,000 changes at a time, and the rest need not be encoded again.
    """
    entry = route_pb2.RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number
    # Fields are encoded by number: the name comes before the virtual hosts, everything else after.
    name = length_delimited(1, ROUTES_NAME.encode())
    rest = route_configuration(()).SerializeToString(deterministic=True).removeprefix(name)
    return b"".join((name, *(length_delimited(entry, host) for host in encoded_virtual_hosts), rest))
