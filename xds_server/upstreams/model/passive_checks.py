"""Ejection: when real requests show that a target fails, for how long it is left alone, and how many may be at once."""

from datetime import timedelta

from pydantic import StrictBool

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.probe_values import Statuses
from xds_server.upstreams.model.scalars import Count, Duration, Percent, PositiveCount, PositiveDuration

LONGEST_EJECTION = timedelta(seconds=300)
"""What `max_ejection_time` is by default, where `ejection_time` is not longer."""


class FailurePercentage(Definition):
    """Targets that fail too large a share of their requests are ejected. Envoy: `cluster.v3.OutlierDetection`."""

    threshold: Percent = 85
    """Share of failed requests from which on a target is ejected, in percent. Default: 85.
    Envoy: `failure_percentage_threshold`."""
    minimum_hosts: Count = 5
    """Targets with enough requests in an interval below which nothing is judged. Default: 5.
    Envoy: `failure_percentage_minimum_hosts`."""
    request_volume: Count = 50
    """Requests that a target must have had in an interval to be judged. Default: 50.
    Envoy: `failure_percentage_request_volume`."""


class SuccessRate(Definition):
    """Targets whose share of good answers is far below the others' are ejected. Envoy: `cluster.v3.OutlierDetection`."""

    stdev_factor: Count = 1900
    """How far below the mean is too far, in thousandths of a standard deviation. Among few targets none can be far below: where
    one of N fails and the others do not, it is the square root of N - 1 deviations below, with 5 targets 2. Default: 1900.
    Envoy: `success_rate_stdev_factor`."""
    minimum_hosts: Count = 5
    """Targets with enough requests in an interval below which nothing is judged. Default: 5.
    Envoy: `success_rate_minimum_hosts`."""
    request_volume: Count = 100
    """Requests that a target must have had in an interval to be judged. Default: 100.
    Envoy: `success_rate_request_volume`."""


class PassiveHealthCheck(Definition):
    """Targets are ejected for a while when real requests to them fail. Envoy: `cluster.v3.OutlierDetection`."""

    consecutive_errors: Count = 5
    """5xx answers and failed connections in a row after which a target is ejected; 0 does not count them. Default: 5.
    Envoy: `consecutive_5xx`, `enforcing_consecutive_5xx`."""
    consecutive_gateway_errors: PositiveCount | None = None
    """Answers 502, 503 and 504 and failed connections in a row after which a target is ejected. From 1. Default: not counted.
    Envoy: `consecutive_gateway_failure`, `enforcing_consecutive_gateway_failure`."""
    consecutive_local_errors: PositiveCount | None = None
    """Connections in a row that cannot be opened, after which a target is ejected. With it, the other counts are of answers
    alone, and requests that time out or whose connection breaks are in none of them: only `failure_percentage` and
    `success_rate` see these, which then judge answers and the rest each for itself, and count the connection that was
    opened as a success. So half of what they see fails at most: write a `threshold` of 50 or less. From 1.
    Default: not counted apart.
    Envoy: `split_external_local_origin_errors`, `consecutive_local_origin_failure`."""
    error_statuses: Statuses = ()
    """Status codes that count as errors, or ranges such as 500-599, instead of all 5xx. Default: all 5xx.
    Envoy: `HttpProtocolOptions.outlier_detection.error_matcher`."""
    failure_percentage: FailurePercentage | None = None
    """Ejects by the share of failed requests. Default: not done.
    Envoy: `failure_percentage_threshold` and the fields like it, `enforcing_failure_percentage`."""
    success_rate: SuccessRate | None = None
    """Ejects by comparison with the other targets. Default: not done.
    Envoy: `success_rate_stdev_factor` and the fields like it, `enforcing_success_rate`."""
    interval: PositiveDuration = timedelta(seconds=10)
    """Time between the sweeps that return ejected targets, and over which shares and rates are counted. Default: 10s.
    Envoy: `interval`."""
    ejection_time: PositiveDuration = timedelta(seconds=30)
    """How long a target is ejected, times the number of its ejections, up to `max_ejection_time`. Each sweep without
    an ejection takes one off that number. It returns with its whole share at once, `slow_start` or not. Default: 30s.
    Envoy: `base_ejection_time`."""
    max_ejection_time: PositiveDuration | None = None
    """How long an ejection may become. Default: 300s, or `ejection_time` where that is longer. Envoy: `max_ejection_time`."""
    max_ejection_time_jitter: Duration | None = None
    """Up to this is added to each ejection, at random, so that targets do not return at once. Default: 0s.
    Envoy: `max_ejection_time_jitter`."""
    max_ejection_percent: Percent | None = None
    """Share of the targets that may be ejected at once, in percent. Beside active checks, those that fail their probes come on
    top: of two targets, one down and one ejected, none is left, unless `on_all_unhealthy: send-all` is written. With passive
    checks alone all targets are used when all are ejected, unless `on_all_unhealthy: fail` is written: then a single
    failing URL can have every target ejected and answered by 503.
    Default: 100 with passive checks alone, 50 together with active checks. Envoy: `max_ejection_percent`."""
    uneject_on_passed_probe: StrictBool = False
    """true: a passed probe returns an ejected target at once. A target whose probes pass while its requests fail then goes
    in and out with each probe. Default: false. Envoy: `successful_active_health_check_uneject_host`."""
