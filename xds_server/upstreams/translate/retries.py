"""Retries: `route.v3.RetryPolicy`, used by routes and by clusters alike."""

from typing import Any

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

from xds_server.upstreams.model import BackOff, Retries
from xds_server.upstreams.translate.messages import duration, packed

# How often a target that was tried already is passed over before it is tried again.
_HOST_SELECTION_ATTEMPTS = 5


def retry_policy(retries: Retries) -> Any:
    """A retry goes to another target where there is one."""
    conditions = [*retries.on, *(["retriable-status-codes"] if retries.statuses else [])]
    policy = route_components_pb2.RetryPolicy(
        retry_on=",".join(dict.fromkeys(conditions)),
        retriable_status_codes=sorted(set(retries.statuses)),
        host_selection_retry_max_attempts=_HOST_SELECTION_ATTEMPTS,
    )
    policy.num_retries.value = retries.attempts
    if retries.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(duration(retries.per_try_timeout))
    if retries.back_off != BackOff():
        policy.retry_back_off.CopyFrom(retry_back_off(retries.back_off))
    policy.retry_host_predicate.add(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=packed(previous_hosts_pb2.PreviousHostsPredicate()),
    )
    return policy


def retry_back_off(back_off: BackOff) -> Any:
    """`RetryPolicy.retry_back_off`."""
    message = route_components_pb2.RetryPolicy.RetryBackOff(base_interval=duration(back_off.base_interval))
    if back_off.max_interval is not None:
        message.max_interval.CopyFrom(duration(back_off.max_interval))
    return message
