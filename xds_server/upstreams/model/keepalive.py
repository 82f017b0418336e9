"""How long connections to targets are kept, and how those that died unseen are found."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import Duration, PositiveCount, PositiveDuration


def _whole_seconds(value: timedelta) -> timedelta:
    if value % timedelta(seconds=1):
        raise ValueError("must be whole seconds, as operating systems count these")
    return value


Seconds = Annotated[PositiveDuration, AfterValidator(_whole_seconds)]


class TcpKeepalive(Definition):
    """Probes of the operating system on connections that are silent. Envoy: `upstream_connection_options.tcp_keepalive`."""

    time: Seconds | None = None
    """Silence after which the first probe is sent, in whole seconds. Default: the system's (2h on Linux).
    Envoy: `keepalive_time`."""
    interval: Seconds | None = None
    """Time between probes, in whole seconds. Default: the system's (75s on Linux). Envoy: `keepalive_interval`."""
    probes: PositiveCount | None = None
    """Unanswered probes after which the connection is dead. Default: the system's (9 on Linux).
    Envoy: `keepalive_probes`."""


class Http2Keepalive(Definition):
    """Pings on HTTP/2 connections. Envoy: `http2_protocol_options.connection_keepalive`."""

    interval: PositiveDuration = timedelta(seconds=30)
    """Time between pings. Default: 30s. Envoy: `interval`."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """How long an answer may take before the connection is closed. Default: 10s. Envoy: `timeout`."""


class Keepalive(Definition):
    """Connections to targets between requests. Envoy: `HttpProtocolOptions.common_http_protocol_options`."""

    idle_timeout: Duration | None = None
    """How long a connection without requests stays open; shorter than the targets' own limit, or requests will meet
    connections that are just being closed. 0s is for ever. Default: 1h. Envoy: `idle_timeout`."""
    max_requests: PositiveCount | None = None
    """Requests after which a connection is not used again. From 1. Default: unlimited.
    Envoy: `max_requests_per_connection`."""
    max_duration: PositiveDuration | None = None
    """Age at which a connection is not used again; requests under way are finished. Default: none.
    Envoy: `max_connection_duration`."""
    tcp: TcpKeepalive | None = None
    """Probes of the operating system on silent connections. Default: none. Envoy: `tcp_keepalive`."""
    http2: Http2Keepalive | None = None
    """Pings, for `protocol` http2 and auto. Default: none. Envoy: `connection_keepalive`."""
