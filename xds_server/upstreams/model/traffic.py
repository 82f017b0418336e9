"""How requests travel to targets: hashing, limits, retries, slow start, TLS."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictBool

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import (
    Count,
    Duration,
    HeaderName,
    OneLine,
    Percent,
    PositiveCount,
    PositiveDuration,
    ServerName,
)

HASH_KINDS = ("header", "cookie", "query_parameter", "source_ip", "path")
"""The fields of a `HashKey` of which exactly one says what is hashed."""


class HashKey(Definition):
    """One source of the hash for ring-hash and maglev: exactly one of header, cookie, query_parameter, source_ip, path.

    Envoy: `route.v3.RouteAction.HashPolicy`, carried by the load-balancing policy so that static listeners honour it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [kind], "properties": {kind: {"not": {"const": False}}}} for kind in HASH_KINDS],
            "dependentRequired": {"ttl": ["cookie"]},
        }
    )

    header: HeaderName | None = None
    """Request header whose value is hashed. Envoy: `header.header_name`."""
    cookie: OneLine | None = None
    """Cookie whose value is hashed. Envoy: `cookie.name`."""
    ttl: Duration | None = None
    """Only with `cookie`: Envoy makes the cookie when it is missing, living this long; 0s is a session cookie.
    Default: never made. Envoy: `cookie.ttl`."""
    query_parameter: OneLine | None = None
    """Query parameter whose value is hashed. Envoy: `query_parameter.name`."""
    source_ip: StrictBool = False
    """true: the client's address is hashed. Envoy: `connection_properties.source_ip`."""
    path: StrictBool = False
    """true: the path without its query is hashed. Envoy: `header` `:path` with `regex_rewrite`."""


class Limits(Definition):
    """Circuit breakers, counted by each Envoy for itself. Absent: unlimited. Envoy: `CircuitBreakers.thresholds`."""

    max_connections: Count | None = None
    """Connections to all targets. Default: unlimited. Envoy: `max_connections`."""
    max_pending_requests: Count | None = None
    """Requests waiting for a connection. 0 means that none may wait, not even for one that is being opened: with HTTP/1.1
    every request then fails. Default: unlimited.
    Envoy: `max_pending_requests`."""
    max_requests: Count | None = None
    """Requests under way. Default: unlimited. Envoy: `max_requests`."""
    max_retries: Count | None = None
    """Retries under way. Default: a budget of 20 % of the requests under way, at least 3.
    Envoy: `max_retries`, else `retry_budget`."""
    max_connections_per_target: PositiveCount | None = None
    """Connections to one target; further requests wait. From 1. Default: unlimited.
    Envoy: `per_host_thresholds.max_connections`."""


RetryCondition = Literal[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]


class Retries(Definition):
    """Failed requests are tried again, on another target where there is one. Envoy: `route.v3.RetryPolicy`."""

    attempts: PositiveCount = 1
    """Retries after the first try. From 1. Default: 1. Envoy: `num_retries`."""
    on: tuple[RetryCondition, ...] = Field(default=("connect-failure", "refused-stream"), min_length=1)
    """What is retried. Default: connect-failure and refused-stream, which no target has begun to answer.
    Envoy: `retry_on`."""


class SlowStart(Definition):
    """A new or recovered target's share grows over a window. Envoy: the load-balancing policy's `slow_start_config`."""

    window: PositiveDuration
    """How long the share grows. Required. Envoy: `slow_start_window`."""
    aggression: Annotated[float, Field(ge=0.01, le=100, strict=True)] | None = None
    """How the share grows: 1 is in line with time, more is faster at first, less is slower. 0.01 to 100. Default: 1.
    Envoy: `aggression`."""
    min_weight_percent: Percent | None = None
    """Least share at the beginning, in percent of the whole. Default: 10. Envoy: `min_weight_percent`."""


class Tls(Definition):
    """TLS to the targets, verified unless told otherwise. Envoy: `tls.v3.UpstreamTlsContext`."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"cert_file": ["key_file"], "key_file": ["cert_file"]}}
    )

    sni: ServerName | None = None
    """Server name that is asked for and that the certificate must carry. Default: each target's own host name.
    Envoy: `sni` and `match_typed_subject_alt_names`, else `auto_host_sni` and `auto_sni_san_validation`.
    Without it, a static listener sends each target its own name as the Host, whatever `host_header` says."""
    verify: StrictBool = True
    """false: any certificate is accepted. Default: true. Envoy: `validation_context`."""
    ca_file: OneLine | None = None
    """Certificate authorities, a PEM file on Envoy's machine. Default: the system's. Envoy: `trusted_ca`."""
    cert_file: OneLine | None = None
    """Client certificate, a PEM file on Envoy's machine; needs `key_file`. Default: none. Envoy: `tls_certificates`."""
    key_file: OneLine | None = None
    """Key of the client certificate, a PEM file on Envoy's machine. Default: none. Envoy: `tls_certificates`."""
