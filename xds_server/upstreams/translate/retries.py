"""Retries: `route.v3.RetryPolicy`, used by routes and by clusters alike."""

from typing import Any

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

from xds_server.upstreams.model import Retries
from xds_server.upstreams.translate.messages import packed

# How often a target that was tried already is passed over before it is tried again.
_HOST_SELECTION_ATTEMPTS = 5


def retry_policy(retries: Retries) -> Any:
    """A retry goes to another target where there is one."""
    policy = route_components_pb2.RetryPolicy(
        retry_on=",".join(dict.fromkeys(retries.on)), host_selection_retry_max_attempts=_HOST_SELECTION_ATTEMPTS
    )
    policy.num_retries.value = retries.attempts
    policy.retry_host_predicate.add(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=packed(previous_hosts_pb2.PreviousHostsPredicate()),
    )
    return policy
