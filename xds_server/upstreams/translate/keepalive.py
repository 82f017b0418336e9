"""Connections between requests: how long they are kept, and how those that died unseen are found."""

from datetime import timedelta
from typing import Any, Final

from envoy.config.core.v3 import address_pb2, protocol_pb2

from xds_server.upstreams.model import Keepalive, TcpKeepalive
from xds_server.upstreams.translate.messages import duration

_SECOND: Final = timedelta(seconds=1)


def common_http(keepalive: Keepalive) -> Any:
    """`HttpProtocolOptions.common_http_protocol_options`, empty when nothing is set."""
    options = protocol_pb2.HttpProtocolOptions()
    if keepalive.idle_timeout is not None:
        options.idle_timeout.CopyFrom(duration(keepalive.idle_timeout))  # 0s is for ever
    if keepalive.max_requests is not None:
        options.max_requests_per_connection.value = keepalive.max_requests
    if keepalive.max_duration is not None:
        options.max_connection_duration.CopyFrom(duration(keepalive.max_duration))
    return options


def http2(keepalive: Keepalive) -> Any:
    """`Http2ProtocolOptions`, empty when nothing is set."""
    options = protocol_pb2.Http2ProtocolOptions()
    if keepalive.http2 is not None:
        options.connection_keepalive.interval.CopyFrom(duration(keepalive.http2.interval))
        options.connection_keepalive.timeout.CopyFrom(duration(keepalive.http2.timeout))
    return options


def tcp_keepalive(tcp: TcpKeepalive) -> Any:
    """`TcpKeepalive`: that it is there turns the probes on; what is not set is the system's."""
    message = address_pb2.TcpKeepalive()
    if tcp.probes is not None:
        message.keepalive_probes.value = tcp.probes
    if tcp.time is not None:
        message.keepalive_time.value = tcp.time // _SECOND
    if tcp.interval is not None:
        message.keepalive_interval.value = tcp.interval // _SECOND
    return message
