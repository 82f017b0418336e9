"""Passive health checks: `cluster.v3.OutlierDetection`."""

from typing import Any

from envoy.config.cluster.v3 import outlier_detection_pb2

from xds_server.upstreams.model import HealthChecks, PassiveHealthCheck
from xds_server.upstreams.translate.messages import duration


def outlier_detection(checks: HealthChecks, passive: PassiveHealthCheck) -> Any:
    """`Cluster.outlier_detection`.

    How many targets may be ejected goes with the panic threshold. Passive checks alone may eject all of them, since
    panic then uses all. Beside active checks, where no healthy target is 503, half of them: otherwise one bad URL that
    fails everywhere would take the whole upstream down. `always_eject_one_host` would do so for a single target.

    `max_ejection_time` stays Envoy's: 300 s, or `base_ejection_time` where that is longer.
    """
    detection = outlier_detection_pb2.OutlierDetection(
        interval=duration(passive.interval), base_ejection_time=duration(passive.ejection_time)
    )
    detection.consecutive_5xx.value = passive.consecutive_errors
    percent = passive.max_ejection_percent
    if percent is None:
        percent = 100 if checks.active is None else 50
    detection.max_ejection_percent.value = percent
    # Envoy's default also ejects whoever answers statistically worse than the others.
    detection.enforcing_success_rate.value = 0
    # A health page that stays 200 would return a failing target within one probe.
    detection.successful_active_health_check_uneject_host.value = False
    return detection
