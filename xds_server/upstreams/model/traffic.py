"""How requests travel to targets: hashing, limits, retries, slow start."""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import (
    Count,
    Duration,
    HeaderName,
    OneLine,
    Percent,
    PositiveCount,
    PositiveDuration,
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


class RetryBudget(Definition):
    """Retries that may be under way, as a share of the requests that are. Envoy: `CircuitBreakers.thresholds.retry_budget`."""

    percent: Percent = 20
    """Share of the requests under way, in percent. Default: 20. Envoy: `budget_percent`."""
    min_concurrency: Count = 3
    """So many retries may be under way however few requests are. Default: 3. Envoy: `min_retry_concurrency`."""


class Limits(Definition):
    """Circuit breakers, counted by each Envoy for itself. Absent: unlimited. What is over a limit is answered with 503 at
    once; a TCP connection is closed. Envoy: `CircuitBreakers.thresholds`."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["max_retries", "retry_budget"]}})

    max_connections: Count | None = None
    """Connections to all targets; further requests wait (see `max_pending_requests`). With HTTP each target has one
    connection whatever the limit, so that 0 is as 1: to let nothing pass write `max_requests: 0`. With plain TCP 0 lets
    none pass. Default: unlimited. Envoy: `max_connections`."""
    max_pending_requests: Count | None = None
    """Requests waiting for a connection. 0 means that none may wait, not even for one that is being opened: with HTTP/1.1
    every request then fails. Default: unlimited.
    Envoy: `max_pending_requests`."""
    max_requests: Count | None = None
    """Requests under way. 0 lets none pass. Default: unlimited. Envoy: `max_requests`."""
    max_retries: Count | None = None
    """Retries under way; not together with `retry_budget`. 0 means that nothing is retried.
    Default: what `retry_budget` says. Envoy: `max_retries`."""
    retry_budget: RetryBudget | None = None
    """Retries under way as a share of the requests. Default: 20 % of the requests under way, at least 3.
    Envoy: `retry_budget`."""
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


TIMED_OUT_TRIES: Final = ("5xx", "gateway-error", "reset")
"""Conditions under which a try that took too long is retried."""
FinalStatus = Annotated[StrictInt, Field(ge=200, le=599)]


class BackOff(Definition):
    """How long a retry waits: a random time below a limit that doubles with each try. Envoy: `RetryPolicy.retry_back_off`."""

    base_interval: PositiveDuration = timedelta(milliseconds=25)
    """The limit before the first retry. Default: 25ms. Envoy: `base_interval`."""
    max_interval: PositiveDuration | None = None
    """What the limit grows to; at least `base_interval`. Default: ten times `base_interval`. Envoy: `max_interval`."""


class Retries(Definition):
    """Failed requests are tried again, on another target where there is one. Envoy: `route.v3.RetryPolicy`.

    Whatever their method: a POST is retried as a GET is, so under a condition other than the default ones a target may
    have done already what it is asked for again. A request whose body is larger than `per_connection_buffer_limit_bytes`
    (1 MiB) is not retried.
    """

    attempts: PositiveCount = 1
    """Retries after the first try. From 1. Default: 1. Envoy: `num_retries`."""
    on: tuple[RetryCondition, ...] = Field(default=("connect-failure", "refused-stream"), min_length=1)
    """What is retried. Default: connect-failure and refused-stream, which no target has begun to answer.
    Envoy: `retry_on`."""
    statuses: tuple[FinalStatus, ...] = ()
    """Statuses that are retried as well, 200 to 599 each. Default: none.
    Envoy: `retriable_status_codes`, and `retriable-status-codes` in `retry_on`."""
    per_try_timeout: PositiveDuration | None = None
    """Time for each try until its answer has begun; below `timeout`, and only with one of 5xx, gateway-error and reset
    in `on`, as nothing else retries a try that took too long. On a static listener `timeout` is that of each try, and this
    has no effect. Default: none. Envoy: `per_try_timeout`."""
    back_off: BackOff = BackOff()
    """How long a retry waits. Default: up to 25ms, doubling up to 250ms. Envoy: `retry_back_off`."""


class SlowStart(Definition):
    """A new or recovered target's share grows over a window. Envoy: the load-balancing policy's `slow_start_config`."""

    window: PositiveDuration
    """How long the share grows. Required. Envoy: `slow_start_window`."""
    aggression: Annotated[float, Field(ge=0.01, le=100, strict=True)] | None = None
    """How the share grows: 1 is in line with time, more is faster at first, less is slower. 0.01 to 100. Default: 1.
    Envoy: `aggression`."""
    min_weight_percent: Percent | None = None
    """Least share at the beginning, in percent of the whole. Default: 10. Envoy: `min_weight_percent`."""
