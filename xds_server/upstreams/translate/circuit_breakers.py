"""Limits: `cluster.v3.CircuitBreakers`."""

from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2
from envoy.config.core.v3 import base_pb2

from xds_server.upstreams.model import Limits, RetryBudget

_UNLIMITED = 4_294_967_295
_PRIORITIES = (base_pb2.RoutingPriority.DEFAULT, base_pb2.RoutingPriority.HIGH)


def circuit_breakers(limits: Limits) -> Any:
    """`Cluster.circuit_breakers`, for both routing priorities, each counted for itself by each Envoy.

    What is not limited is said so: Envoy's own defaults are 1024 connections, pending requests and requests.
    """
    breakers = circuit_breaker_pb2.CircuitBreakers(thresholds=[_thresholds(limits, p) for p in _PRIORITIES])
    if limits.max_connections_per_target is not None:
        for priority in _PRIORITIES:
            breakers.per_host_thresholds.add(
                priority=priority
            ).max_connections.value = limits.max_connections_per_target
    return breakers


def _thresholds(limits: Limits, priority: int) -> Any:
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(priority=priority)
    for field in ("max_connections", "max_pending_requests", "max_requests"):
        limit = getattr(limits, field)
        getattr(thresholds, field).value = _UNLIMITED if limit is None else limit
    if limits.max_retries is not None:
        thresholds.max_retries.value = limits.max_retries
    else:
        budget = limits.retry_budget or RetryBudget()
        thresholds.retry_budget.budget_percent.value = budget.percent
        thresholds.retry_budget.min_retry_concurrency.value = budget.min_concurrency
    return thresholds
