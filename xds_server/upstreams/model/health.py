"""How an upstream learns which of its targets can serve: probes (active) and real requests (passive)."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import (
    OneLine,
    Percent,
    PositiveCount,
    PositiveDuration,
    ProbeHeader,
    ProbePath,
)

StatusCode = Annotated[StrictInt, Field(ge=100, le=599)]


class ActiveHealthCheck(Definition):
    """Probes that Envoy sends to every target. Envoy: `core.v3.HealthCheck`."""

    type: Literal["http", "tcp", "grpc"] = "http"
    """http (a request), tcp (a connection) or grpc (grpc.health.v1). Default: http.
    Envoy: `http_health_check`, `tcp_health_check`, `grpc_health_check`."""
    path: ProbePath = "/"
    """http: path that is asked for, beginning with / and without spaces. Default: /. Envoy: `http_health_check.path`."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"] = "GET"
    """http: method of the probe. Default: GET. Envoy: `http_health_check.method`."""
    host: OneLine | None = None
    """http and grpc: Host header of the probe. Default: the upstream's name.
    Envoy: `http_health_check.host`, `grpc_health_check.authority`."""
    headers: dict[ProbeHeader, OneLine] = Field(default_factory=dict, max_length=64)
    """http: headers added to the probe; the Host is set by `host`. Default: none.
    Envoy: `http_health_check.request_headers_to_add`."""
    expected_statuses: tuple[StatusCode, ...] = Field(default=(200,), min_length=1)
    """http: status codes that count as healthy, 100 to 599 each. Default: 200.
    Envoy: `http_health_check.expected_statuses`; every other status is retriable, so that thresholds are honoured."""
    service: OneLine | None = None
    """grpc: service name asked for. Default: the server as a whole. Envoy: `grpc_health_check.service_name`."""
    interval: PositiveDuration = timedelta(seconds=5)
    """Time between probes, with or without traffic, from 1ms. Default: 5s.
    Envoy: `interval`, `unhealthy_interval`, `no_traffic_interval`, `no_traffic_healthy_interval`."""
    timeout: PositiveDuration = timedelta(seconds=1)
    """How long a probe may take, from 1ms. Default: 1s. Envoy: `timeout`."""
    healthy_threshold: PositiveCount = 2
    """Passed probes after which an unhealthy target is used again (a new target needs one). From 1. Default: 2.
    Envoy: `healthy_threshold`."""
    unhealthy_threshold: PositiveCount = 3
    """Failed probes in a row after which a target is no longer used. From 1. Default: 3.
    Envoy: `unhealthy_threshold`."""


class PassiveHealthCheck(Definition):
    """Targets are ejected for a while when real requests to them fail. Envoy: `cluster.v3.OutlierDetection`."""

    consecutive_errors: PositiveCount = 5
    """5xx answers and failed connections in a row after which a target is ejected. From 1. Default: 5.
    Envoy: `consecutive_5xx`."""
    interval: PositiveDuration = timedelta(seconds=10)
    """Time between the sweeps that return ejected targets. Default: 10s. Envoy: `interval`."""
    ejection_time: PositiveDuration = timedelta(seconds=30)
    """How long a target is ejected, times the number of its ejections, up to 300s. Default: 30s.
    Envoy: `base_ejection_time`, `max_ejection_time`."""
    max_ejection_percent: Percent | None = None
    """Share of the targets that may be ejected at once, in percent. Default: 100 with passive checks alone, 50 together
    with active checks. With passive checks alone all targets are used when all are ejected, unless
    `on_all_unhealthy: fail` is written: then a single failing URL can have every target ejected and answered by 503.
    Envoy: `max_ejection_percent`."""


class HealthChecks(Definition):
    """Both kinds of checks. Default: none."""

    active: ActiveHealthCheck | None = None
    """Probes. Default: none. Envoy: `Cluster.health_checks`."""
    passive: PassiveHealthCheck | None = None
    """Ejection by failed requests. Default: none. Envoy: `Cluster.outlier_detection`."""
