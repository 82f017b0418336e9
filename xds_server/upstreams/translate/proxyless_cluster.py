"""The Cluster as gRPC knows it: where its endpoints are, how one is chosen, and when one is left alone.

Of the algorithms gRPC has two that every language and version knows: round robin within localities that are chosen by
weight, and ring hash (A27, A42, R19, R20).
"""

from typing import Any, Final

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2

from xds_server.upstreams.model import FailurePercentage, PassiveHealthCheck, Upstream
from xds_server.upstreams.model.upstream import HASHING
from xds_server.upstreams.translate.endpoints import envoy_resolves, is_enabled
from xds_server.upstreams.translate.messages import duration, from_ads
from xds_server.upstreams.translate.proxyless_endpoints import single_endpoint

_UNLIMITED: Final = 4_294_967_295


def proxyless_cluster(upstream: Upstream) -> Any:
    """The upstream as a `Cluster` of type EDS, or LOGICAL_DNS where clients resolve its one target (A37)."""
    policies = cluster_pb2.Cluster.LbPolicy
    message = cluster_pb2.Cluster(
        name=upstream.name, lb_policy=policies.RING_HASH if upstream.algorithm in HASHING else policies.ROUND_ROBIN
    )
    # A DNS cluster has no health: one whose target is taken out becomes EDS without endpoints.
    if envoy_resolves(upstream) and is_enabled(upstream.targets[0]):
        message.type = cluster_pb2.Cluster.DiscoveryType.LOGICAL_DNS
        message.load_assignment.CopyFrom(single_endpoint(upstream))
    else:
        message.type = cluster_pb2.Cluster.DiscoveryType.EDS
        message.eds_cluster_config.eds_config.CopyFrom(from_ads())
    # Absent, clients allow 1024 RPCs under way (A32).
    limit = upstream.limits.max_requests
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds()
    thresholds.max_requests.value = _UNLIMITED if limit is None else limit
    message.circuit_breakers.thresholds.append(thresholds)
    passive = upstream.health_checks.passive
    if passive is not None and is_followed(passive):
        sole = 1 if not upstream.sends_to_all_when_unhealthy else 2
        message.outlier_detection.CopyFrom(_outlier_detection(passive, minimum_hosts=sole))
    return message


def is_followed(passive: PassiveHealthCheck) -> bool:
    """Whether clients can eject anyone as it says. They know no errors of single kinds, and always eject a first one."""
    counted = passive.consecutive_errors or passive.failure_percentage or passive.success_rate
    return bool(counted) and passive.max_ejection_percent != 0


def _outlier_detection(passive: PassiveHealthCheck, *, minimum_hosts: int) -> Any:
    """`Cluster.outlier_detection` (A50). gRPC counts no errors in a row, but shares of failed RPCs within an interval.

    So, unless `failure_percentage` is written, a target is ejected when it was sent at least `consecutive_errors` RPCs
    within `interval` and more than the usual 85 % of them failed. There is no panic to fall back on when all are ejected, so
    at most half are where Envoy would eject all, and with `minimum_hosts` 2 never the only one.
    """
    detection = outlier_detection_pb2.OutlierDetection(
        interval=duration(passive.interval), base_ejection_time=duration(passive.ejection_time)
    )
    if passive.max_ejection_time is not None:
        detection.max_ejection_time.CopyFrom(duration(passive.max_ejection_time))
    percent = passive.max_ejection_percent
    detection.max_ejection_percent.value = 50 if percent is None else percent
    if (rate := passive.success_rate) is None:
        detection.enforcing_success_rate.value = 0
    else:
        detection.enforcing_success_rate.value = 100
        detection.success_rate_stdev_factor.value = rate.stdev_factor
        detection.success_rate_request_volume.value = rate.request_volume
        detection.success_rate_minimum_hosts.value = max(rate.minimum_hosts, minimum_hosts)
    if (share := passive.failure_percentage) is not None:
        share = share.model_copy(update={"minimum_hosts": max(share.minimum_hosts, minimum_hosts)})
    elif passive.consecutive_errors:
        share = FailurePercentage(request_volume=passive.consecutive_errors, minimum_hosts=minimum_hosts)
    else:
        return detection
    detection.enforcing_failure_percentage.value = 100
    detection.failure_percentage_threshold.value = share.threshold
    detection.failure_percentage_request_volume.value = share.request_volume
    detection.failure_percentage_minimum_hosts.value = share.minimum_hosts
    return detection
