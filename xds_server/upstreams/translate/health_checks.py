"""Active health checks: `core.v3.HealthCheck`."""

from typing import Any

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.type.v3 import http_pb2, range_pb2

from xds_server.upstreams.model import ActiveHealthCheck, Upstream
from xds_server.upstreams.model.active_checks import EXPECTED_BODY_WITHIN
from xds_server.upstreams.model.probe_values import payload_bytes
from xds_server.upstreams.translate.messages import duration
from xds_server.upstreams.translate.probe_socket import PROBE_SOCKET, probe_socket
from xds_server.upstreams.translate.statuses import status_ranges

_ANY_STATUS = range_pb2.Int64Range(start=100, end=600)


def health_check(upstream: Upstream, active: ActiveHealthCheck) -> Any:
    """The one entry of `Cluster.health_checks`.

    There is no `initial_jitter`, which would delay a cluster's first use.
    """
    check = health_check_pb2.HealthCheck(
        timeout=duration(active.timeout), interval_jitter_percent=active.interval_jitter_percent
    )
    _set_intervals(check, active)
    check.unhealthy_threshold.value = active.unhealthy_threshold
    check.healthy_threshold.value = active.healthy_threshold
    if not active.reuse_connection:
        check.reuse_connection.value = False
    if active.is_http:
        check.http_health_check.CopyFrom(_http(upstream, active))
        if upstream.protocol == "auto":
            # The cluster offers h2 as well; a target that took it would be spoken to in HTTP/1.
            check.tls_options.alpn_protocols.append("http/1.1")
    elif active.type == "grpc":
        check.grpc_health_check.authority = active.host or upstream.name
        check.grpc_health_check.service_name = active.service or ""
        check.grpc_health_check.initial_metadata.extend(_headers(active))
    else:
        check.tcp_health_check.SetInParent()
        if active.send is not None:
            check.tcp_health_check.send.CopyFrom(_payload(active.send))
        check.tcp_health_check.receive.extend(map(_payload, active.receive))
    if probe_socket(upstream) is not None:
        check.transport_socket_match_criteria.CopyFrom(PROBE_SOCKET)
    return check


def _set_intervals(check: Any, active: ActiveHealthCheck) -> None:
    """All of them, so that they mean the same with and without traffic.

    Envoy's default of 60 s for clusters without traffic would leave a target that fails its first probe out for a minute.
    The healthy "edge" is that of an unhealthy target whose last probe passed.
    """
    healthy, unhealthy = duration(active.interval), duration(active.unhealthy_interval or active.interval)
    check.interval.CopyFrom(healthy)
    check.unhealthy_interval.CopyFrom(unhealthy)
    check.no_traffic_interval.CopyFrom(unhealthy)
    check.no_traffic_healthy_interval.CopyFrom(healthy)
    if active.unhealthy_interval is not None:
        check.healthy_edge_interval.CopyFrom(unhealthy)


def _http(upstream: Upstream, active: ActiveHealthCheck) -> Any:
    http2 = upstream.protocol == "http2"
    check = health_check_pb2.HealthCheck.HttpHealthCheck(
        host=active.host or upstream.name,
        path=active.path,
        method=base_pb2.RequestMethod.Value(active.method),
        request_headers_to_add=_headers(active),
        expected_statuses=status_ranges(active.expected_statuses),
        # Envoy takes a target out at the first status that is neither expected nor retriable, whatever the threshold.
        retriable_statuses=[_ANY_STATUS],
        codec_client_type=http_pb2.CodecClientType.HTTP2 if http2 else http_pb2.CodecClientType.HTTP1,
    )
    if active.body is not None:
        check.send.CopyFrom(_payload(active.body))
    if active.expected_body:
        check.receive.extend(map(_payload, active.expected_body))
        check.response_buffer_size.value = EXPECTED_BODY_WITHIN
    return check


def _payload(payload: str) -> Any:
    # Envoy's "text" is hexadecimal.
    return health_check_pb2.HealthCheck.Payload(text=payload_bytes(payload).hex())


def _headers(active: ActiveHealthCheck) -> list[Any]:
    return [_header(name, value) for name, value in sorted(active.headers.items())]


def _header(name: str, value: str) -> Any:
    # "%" begins one of Envoy's format commands; doubled it is itself.
    header = base_pb2.HeaderValue(key=name, value=value.replace("%", "%%"))
    append = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    return base_pb2.HeaderValueOption(header=header, append_action=append)
