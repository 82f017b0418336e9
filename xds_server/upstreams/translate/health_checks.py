"""Active health checks: `core.v3.HealthCheck`."""

from collections.abc import Iterable, Iterator
from typing import Any

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.type.v3 import http_pb2, range_pb2

from xds_server.upstreams.model import ActiveHealthCheck, Upstream
from xds_server.upstreams.translate.messages import duration

# Not every Envoy at once: N Envoys probe each target.
_JITTER_PERCENT = 10
_ANY_STATUS = range_pb2.Int64Range(start=100, end=600)


def health_check(upstream: Upstream, active: ActiveHealthCheck) -> Any:
    """The one entry of `Cluster.health_checks`.

    All four intervals are the same: Envoy's default of 60 s for clusters without traffic would leave a target that fails
    its first probe out for a minute. There is no `initial_jitter`, which would delay a cluster's first use.
    """
    interval = duration(active.interval)
    check = health_check_pb2.HealthCheck(
        timeout=duration(active.timeout),
        interval=interval,
        unhealthy_interval=interval,
        no_traffic_interval=interval,
        no_traffic_healthy_interval=interval,
        interval_jitter_percent=_JITTER_PERCENT,
    )
    check.unhealthy_threshold.value = active.unhealthy_threshold
    check.healthy_threshold.value = active.healthy_threshold
    if active.type == "http":
        check.http_health_check.CopyFrom(_http(upstream, active))
        if upstream.protocol == "auto":
            # The cluster offers h2 as well; a target that took it would be spoken to in HTTP/1.
            check.tls_options.alpn_protocols.append("http/1.1")
    elif active.type == "grpc":
        check.grpc_health_check.authority = active.host or upstream.name
        check.grpc_health_check.service_name = active.service or ""
    else:
        check.tcp_health_check.SetInParent()
    return check


def _http(upstream: Upstream, active: ActiveHealthCheck) -> Any:
    http2 = upstream.protocol == "http2"
    return health_check_pb2.HealthCheck.HttpHealthCheck(
        host=active.host or upstream.name,
        path=active.path,
        method=base_pb2.RequestMethod.Value(active.method),
        request_headers_to_add=[_header(name, value) for name, value in sorted(active.headers.items())],
        expected_statuses=_ranges(active.expected_statuses),
        # Envoy takes a target out at the first status that is neither expected nor retriable, whatever the threshold.
        retriable_statuses=[_ANY_STATUS],
        codec_client_type=http_pb2.CodecClientType.HTTP2 if http2 else http_pb2.CodecClientType.HTTP1,
    )


def _header(name: str, value: str) -> Any:
    # "%" begins one of Envoy's format commands; doubled it is itself.
    header = base_pb2.HeaderValue(key=name, value=value.replace("%", "%%"))
    append = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    return base_pb2.HeaderValueOption(header=header, append_action=append)


def _ranges(statuses: Iterable[int]) -> Iterator[Any]:
    """Statuses as the fewest half-open ranges, in order."""
    start = end = 0
    for status in sorted(set(statuses)):
        if status != end:
            if end:
                yield range_pb2.Int64Range(start=start, end=end)
            start = status
        end = status + 1
    yield range_pb2.Int64Range(start=start, end=end)
