"""Which target gets a request: the load-balancing policy, and what happens when few or none are healthy.

All clusters use the typed `load_balancing_policy`. Envoy refuses it together with most legacy fields (`lb_policy` and
parts of `common_lb_config`), and only the typed policies know `FULL_SCAN` and carry a hash policy to static listeners.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.load_balancing_policies.common.v3 import common_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2
from envoy.extensions.load_balancing_policies.random.v3 import random_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2

from xds_server.upstreams.model import HashKey, Upstream
from xds_server.upstreams.translate.messages import duration, extension

_PREFIX = "envoy.load_balancing_policies."
_BY_SOURCE_IP = HashKey(source_ip=True)


def load_balancing_policy(upstream: Upstream) -> Any:
    """`Cluster.load_balancing_policy` for the upstream's algorithm."""
    algorithm = upstream.algorithm
    if algorithm in ("round-robin", "weighted-round-robin"):  # equal weights in the endpoints are the only difference
        policy = extension(
            _PREFIX + "round_robin", round_robin_pb2.RoundRobin(**_slow_start(upstream), **_by_locality(upstream))
        )
    elif algorithm == "least-connections":
        # With the default of two random choices a slow target of two still got a third of the requests.
        scan = least_request_pb2.LeastRequest.SelectionMethod.FULL_SCAN
        message = least_request_pb2.LeastRequest(
            selection_method=scan, **_slow_start(upstream), **_by_locality(upstream)
        )
        policy = extension(_PREFIX + "least_request", message)
    elif algorithm == "random":
        policy = extension(_PREFIX + "random", random_pb2.Random(**_by_locality(upstream)))
    elif algorithm == "ring-hash":
        policy = extension(_PREFIX + "ring_hash", ring_hash_pb2.RingHash(**_hashing(upstream)))
    else:
        policy = extension(_PREFIX + "maglev", maglev_pb2.Maglev(**_hashing(upstream)))
    entry = cluster_pb2.LoadBalancingPolicy.Policy(typed_extension_config=policy)
    return cluster_pb2.LoadBalancingPolicy(policies=[entry])


def common_lb_config(upstream: Upstream) -> Any:
    """`Cluster.common_lb_config`: panic, and targets that no probe has reached yet.

    `fail` is a panic threshold of 0 (never). `send-all` is 1 %: below a hundred hosts only when none is healthy, where
    Envoy's default of 50 % sends to sick targets while healthy ones exist.
    """
    config = cluster_pb2.Cluster.CommonLbConfig()
    config.healthy_panic_threshold.value = 1 if upstream.sends_to_all_when_unhealthy else 0
    # Otherwise targets that are added in numbers count as sick until they were probed.
    config.ignore_new_hosts_until_first_hc = upstream.health_checks.active is not None
    return config


def _slow_start(upstream: Upstream) -> dict[str, Any]:
    slow_start = upstream.slow_start
    if slow_start is None:
        return {}
    config = common_pb2.SlowStartConfig(slow_start_window=duration(slow_start.window))
    if slow_start.aggression is not None:
        config.aggression.default_value = slow_start.aggression
        config.aggression.runtime_key = f"upstream.{upstream.name}.slow_start_aggression"  # Envoy wants one
    if slow_start.min_weight_percent is not None:
        config.min_weight_percent.value = slow_start.min_weight_percent
    return {"slow_start_config": config}


def _by_locality(upstream: Upstream) -> dict[str, Any]:
    """What localities mean, for the policies that do not hash. Nearest first is said by the endpoints alone."""
    localities = upstream.localities
    if localities is None or localities.balance == "nearest":
        return {}
    config = common_pb2.LocalityLbConfig()
    if localities.balance == "weighted":
        config.locality_weighted_lb_config.SetInParent()
    else:
        config.zone_aware_lb_config.SetInParent()
        if localities.min_cluster_size is not None:
            config.zone_aware_lb_config.min_cluster_size.value = localities.min_cluster_size
    return {"locality_lb_config": config}


def _hashing(upstream: Upstream) -> dict[str, Any]:
    """The hash policy inside the load-balancing policy: the only place that every Envoy version and listener honours."""
    keys = upstream.hash_on or (_BY_SOURCE_IP,)
    policies = [_hash_policy(key, last=index == len(keys) - 1) for index, key in enumerate(keys)]
    config = common_pb2.ConsistentHashingLbConfig(hash_policy=policies)
    if upstream.hash_balance_factor is not None:
        config.hash_balance_factor.value = upstream.hash_balance_factor
    fields: dict[str, Any] = {"consistent_hashing_lb_config": config}
    if upstream.localities is not None and upstream.localities.balance == "weighted":
        fields["locality_weighted_lb_config"] = common_pb2.LocalityLbConfig.LocalityWeightedLbConfig()
    return fields


def _hash_policy(key: HashKey, *, last: bool) -> Any:
    """One entry. Terminal entries end the search when they found something: the later ones are fallbacks, not parts."""
    policy = route_components_pb2.RouteAction.HashPolicy(terminal=not last)
    if key.header:
        policy.header.header_name = key.header
    elif key.cookie:
        policy.cookie.name = key.cookie
        if key.ttl is not None:
            policy.cookie.ttl.FromTimedelta(key.ttl)
    elif key.query_parameter:
        policy.query_parameter.name = key.query_parameter
    elif key.path:
        policy.header.header_name = ":path"
        policy.header.regex_rewrite.pattern.regex = r"\?.*$"
    else:
        policy.connection_properties.source_ip = True
    return policy
