"""Passive health checks: `cluster.v3.OutlierDetection`."""

from typing import Any

from envoy.config.cluster.v3 import outlier_detection_pb2
from envoy.config.common.matcher.v3 import matcher_pb2

from xds_server.upstreams.model import HealthChecks, PassiveHealthCheck
from xds_server.upstreams.translate.messages import duration
from xds_server.upstreams.translate.statuses import status_ranges


def outlier_detection(checks: HealthChecks, passive: PassiveHealthCheck) -> Any:
    """`Cluster.outlier_detection`.

    How many targets may be ejected goes with the panic threshold. Passive checks alone may eject all of them, since
    panic then uses all. Beside active checks, where no healthy target is 503, half of them: otherwise one bad URL that
    fails everywhere would take the whole upstream down. `always_eject_one_host` would do so for a single target.

    `max_ejection_time` stays Envoy's unless written: 300 s, or `base_ejection_time` where that is longer.
    """
    detection = outlier_detection_pb2.OutlierDetection(
        interval=duration(passive.interval), base_ejection_time=duration(passive.ejection_time)
    )
    percent = passive.max_ejection_percent
    if percent is None:
        percent = 100 if checks.active is None else 50
    detection.max_ejection_percent.value = percent
    if passive.max_ejection_time is not None:
        detection.max_ejection_time.CopyFrom(duration(passive.max_ejection_time))
    if passive.max_ejection_time_jitter is not None:
        detection.max_ejection_time_jitter.CopyFrom(duration(passive.max_ejection_time_jitter))
    # A health page that stays 200 would return a failing target within one probe.
    detection.successful_active_health_check_uneject_host.value = passive.uneject_on_passed_probe
    _count_in_a_row(detection, passive)
    _judge_shares(detection, passive)
    return detection


def _count_in_a_row(detection: Any, passive: PassiveHealthCheck) -> None:
    if passive.consecutive_errors:
        detection.consecutive_5xx.value = passive.consecutive_errors
    else:
        detection.enforcing_consecutive_5xx.value = 0
    if passive.consecutive_gateway_errors is not None:
        detection.consecutive_gateway_failure.value = passive.consecutive_gateway_errors
        detection.enforcing_consecutive_gateway_failure.value = 100  # by default Envoy counts, and does nothing
    if passive.consecutive_local_errors is not None:
        detection.split_external_local_origin_errors = True
        detection.consecutive_local_origin_failure.value = passive.consecutive_local_errors


def _judge_shares(detection: Any, passive: PassiveHealthCheck) -> None:
    """By default Envoy ejects whoever answers statistically worse than the others, and counts the percentage in vain.

    What a target answers and what happens on the way to it are judged apart where they are told apart.
    """
    split = detection.split_external_local_origin_errors
    if (rate := passive.success_rate) is None:
        detection.enforcing_success_rate.value = 0
        if split:
            detection.enforcing_local_origin_success_rate.value = 0
    else:
        detection.success_rate_stdev_factor.value = rate.stdev_factor
        detection.success_rate_minimum_hosts.value = rate.minimum_hosts
        detection.success_rate_request_volume.value = rate.request_volume
    if (share := passive.failure_percentage) is not None:
        detection.failure_percentage_threshold.value = share.threshold
        detection.failure_percentage_minimum_hosts.value = share.minimum_hosts
        detection.failure_percentage_request_volume.value = share.request_volume
        detection.enforcing_failure_percentage.value = 100
        if split:
            detection.enforcing_failure_percentage_local_origin.value = 100


def error_matcher(passive: PassiveHealthCheck | None) -> Any:
    """`HttpProtocolOptions.outlier_detection.error_matcher`: which answers are errors, or None for all 5xx."""
    if passive is None or not passive.error_statuses:
        return None
    rules = [_status_in(each) for each in status_ranges(passive.error_statuses)]
    if len(rules) == 1:  # Envoy refuses an "or" of one
        return rules[0]
    return matcher_pb2.MatchPredicate(or_match=matcher_pb2.MatchPredicate.MatchSet(rules=rules))


def _status_in(statuses: Any) -> Any:
    rule = matcher_pb2.MatchPredicate()
    rule.http_response_headers_match.headers.add(name=":status", range_match=statuses)
    return rule
