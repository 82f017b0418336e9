"""Gateways: `listener.v3.Listener`."""

from typing import Any, Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.message import Message

from xds_server.upstreams.model import Gateway
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.messages import duration, packed, socket_address
from xds_server.upstreams.translate.routes import IDLE_TIMEOUT, ROUTES_NAME

CONNECT_ATTEMPTS: Final = 3
"""Targets that a TCP gateway tries unless told."""


def listener(gateway: Gateway, dialect: Dialect = Dialect.ADS) -> Any:
    """The gateway as a `Listener`: plain TCP to its upstream, or HTTP to every upstream by host name.

    `dialect`: how the Envoys ask that it is for.
    """
    if gateway.upstream is not None:
        name, proxy = "envoy.filters.network.tcp_proxy", _tcp(gateway, gateway.upstream)
    else:
        name, proxy = "envoy.filters.network.http_connection_manager", _http(gateway.name, dialect)
    chain = listener_components_pb2.FilterChain(
        filters=[listener_components_pb2.Filter(name=name, typed_config=packed(proxy))]
    )
    address = socket_address(gateway.address, gateway.port)
    return listener_pb2.Listener(name=gateway.name, address=address, filter_chains=[chain])


def _http(name: str, dialect: Dialect) -> Message:
    manager = http_connection_manager_pb2.HttpConnectionManager(
        stat_prefix=name,
        rds={"config_source": dialect.config_source, "route_config_name": ROUTES_NAME},
        stream_idle_timeout=duration(IDLE_TIMEOUT),
        strip_trailing_host_dot=True,
        normalize_path={"value": True},
        # The peer is the client: its address is what is hashed, and what x-forwarded-for gets.
        use_remote_address={"value": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )
    manager.http_filters.add(name="envoy.filters.http.router", typed_config=packed(router_pb2.Router()))
    message: Message = manager
    return message


def _tcp(gateway: Gateway, upstream: str) -> Message:
    # Needs no hash policy of its own: the cluster's applies to connections too.
    proxy = tcp_proxy_pb2.TcpProxy(stat_prefix=gateway.name, cluster=upstream)
    # Nothing was sent yet when a target does not take a connection: another one may be asked.
    proxy.max_connect_attempts.value = gateway.connect_attempts or CONNECT_ATTEMPTS
    if gateway.idle_timeout is not None:
        proxy.idle_timeout.CopyFrom(duration(gateway.idle_timeout))
    message: Message = proxy
    return message
