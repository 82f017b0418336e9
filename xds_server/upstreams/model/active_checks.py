"""Probes: what Envoy asks every target, how often, and what it takes for a good answer."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, StrictBool

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.probe_values import Payload, Statuses
from xds_server.upstreams.model.scalars import (
    OneLine,
    Percent,
    PositiveCount,
    PositiveDuration,
    ProbeHeader,
    ProbePath,
    ServerName,
)

EXPECTED_BODY_WITHIN = 64 * 1024
"""Bytes of an answer in which `expected_body` is looked for."""


class ProbeTls(Definition):
    """TLS of probes that do not go over that of the traffic. No client certificate is shown.

    Envoy: `tls.v3.UpstreamTlsContext`.
    """

    sni: ServerName | None = None
    """Server name that is asked for and that the certificate must carry. Default: each target's own host name, where the
    upstream's `tls` has no `sni` either. Envoy: `sni` and `match_typed_subject_alt_names`, else `auto_host_sni` and
    `auto_sni_san_validation`."""
    verify: StrictBool = True
    """false: any certificate is accepted. Default: true. Envoy: `validation_context`."""
    ca_file: OneLine | None = None
    """Certificate authorities, a PEM file on Envoy's machine that is read when the upstream is added or edited.
    Default: the system's. Envoy: `trusted_ca`."""


class ActiveHealthCheck(Definition):
    """Probes that Envoy sends to every target. Envoy: `core.v3.HealthCheck`."""

    type: Literal["http", "https", "tcp", "grpc"] = "http"
    """http (a request), https (a request that must go over TLS), tcp (a connection) or grpc (grpc.health.v1). All go over
    TLS where the upstream has `tls`. Default: http.
    Envoy: `http_health_check`, `tcp_health_check`, `grpc_health_check`."""
    path: ProbePath = "/"
    """http: path that is asked for, beginning with / and without spaces. Default: /. Envoy: `http_health_check.path`."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"] = "GET"
    """http: method of the probe. Default: GET. Envoy: `http_health_check.method`."""
    host: OneLine | None = None
    """http and grpc: Host header of the probe. Default: the upstream's name.
    Envoy: `http_health_check.host`, `grpc_health_check.authority`."""
    headers: dict[ProbeHeader, OneLine] = Field(default_factory=dict, max_length=64)
    """http and grpc: headers added to the probe; the Host is set by `host`. Default: none.
    Envoy: `http_health_check.request_headers_to_add`, `grpc_health_check.initial_metadata`."""
    body: Payload | None = None
    """http: body of the probe, with POST, PUT, PATCH or OPTIONS. Text, or bytes as `hex:` and hexadecimal digits.
    Default: none. Envoy: `http_health_check.send`."""
    expected_statuses: Statuses = Field(default=(200,), min_length=1)
    """http: status codes that count as healthy, 100 to 599 each, or ranges such as 200-299. Default: 200.
    Envoy: `http_health_check.expected_statuses`; every other status is retriable, so that thresholds are honoured."""
    expected_body: tuple[Payload, ...] = ()
    """http: texts, or bytes as `hex:` and digits, that must all be in the first 64 KiB of the answer's body, one behind the
    other in this order. Default: none. Envoy: `http_health_check.receive`, `response_buffer_size`."""
    send: Payload | None = None
    """tcp: what is sent when the connection is open; needs `receive`. Text, or bytes as `hex:` and hexadecimal digits.
    Default: none. Envoy: `tcp_health_check.send`."""
    receive: tuple[Payload, ...] = ()
    """tcp: texts, or bytes as `hex:` and digits, that must all come, one behind the other in this order. Default: none, an
    open connection is enough. Envoy: `tcp_health_check.receive`."""
    service: OneLine | None = None
    """grpc: service name asked for. Default: the server as a whole. Envoy: `grpc_health_check.service_name`."""
    tls: ProbeTls | None = None
    """TLS for probes alone, where that of the traffic will not do: another name, or an upstream whose traffic is plaintext.
    Default: as the traffic. Envoy: `transport_socket_match_criteria` and `Cluster.transport_socket_matches`."""
    plaintext: StrictBool = False
    """true: probes without TLS although the traffic has it, for targets with a plain port for probes (their
    `health_check.port`). Default: false. Envoy: as `tls`."""
    interval: PositiveDuration = timedelta(seconds=5)
    """Time between probes, with or without traffic, from 1ms. Default: 5s.
    Envoy: `interval`, `unhealthy_interval`, `no_traffic_interval`, `no_traffic_healthy_interval`."""
    unhealthy_interval: PositiveDuration | None = None
    """The same after a failed probe, and for an unhealthy target. Default: `interval`.
    Envoy: `unhealthy_interval`, `healthy_edge_interval`, `no_traffic_interval`."""
    interval_jitter_percent: Percent = 10
    """Up to this share of the interval is added to each, at random, so that Envoys do not probe at once. Default: 10.
    Envoy: `interval_jitter_percent`."""
    timeout: PositiveDuration = timedelta(seconds=1)
    """How long a probe may take, from 1ms. Default: 1s. Envoy: `timeout`."""
    healthy_threshold: PositiveCount = 2
    """Passed probes after which an unhealthy target is used again (a new target needs one). From 1. Default: 2.
    Envoy: `healthy_threshold`."""
    unhealthy_threshold: PositiveCount = 3
    """Failed probes in a row after which a target is no longer used. From 1. Default: 3.
    Envoy: `unhealthy_threshold`."""
    reuse_connection: StrictBool = True
    """false: each probe opens a connection of its own, and so also finds targets that take no new ones. Default: true.
    Envoy: `reuse_connection`."""

    @property
    def is_http(self) -> bool:
        """Whether a probe is a request that is answered by a status."""
        return self.type in ("http", "https")
