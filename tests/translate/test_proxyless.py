"""What gRPC clients are given: the rules that every assignment keeps, and a warning for everything that they lose."""

import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.proxyless import ProxylessError, proxyless_resources
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

TARGETS = st.lists(
    st.fixed_dictionaries(
        {
            "host": st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "a.example", "b.example"]),
            "port": st.integers(1, 5),
            "weight": st.sampled_from([0, 1, 2, 3, 1_000_000]),
            "priority": st.sampled_from([0, 1, 7]),
            "state": st.sampled_from(["enabled", "enabled", "draining", "disabled", "unhealthy"]),
            "locality": st.fixed_dictionaries(
                {"zone": st.sampled_from(["", "z"]), "sub_zone": st.sampled_from(["", "r", "r#2", "#1", "#"])}
            ),
        }
    ),
    max_size=12,
    unique_by=lambda target: (target["host"], target["port"]),
)
ADDRESSES = st.dictionaries(
    st.sampled_from(["a.example", "b.example"]), st.lists(st.sampled_from(["10.0.0.1", "10.0.0.3", "::1"]), max_size=3)
)
ALGORITHMS = st.sampled_from(["weighted-round-robin", "least-connections", "ring-hash", "maglev"])


def upstream(*given: dict[str, Any], **fields: Any) -> Upstream:
    return Upstream.model_validate({"name": "u", "targets": given, **fields})


def target(**fields: Any) -> dict[str, Any]:
    return {"host": "10.0.0.1", "port": 80, **fields}


def assignment(definition: Upstream, addresses: dict[str, list[str]]) -> Any:
    (resource,) = (r for r in proxyless_resources(definition, addresses).resources if r.type_url == ENDPOINTS)
    return endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)


def shares(groups: Any) -> dict[tuple[int, bytes], Fraction]:
    """The share of each endpoint in its priority, as gRPC reads it: a locality's by weight, and equal within it."""
    totals: Counter[int] = Counter()
    for group in groups:
        totals[group.priority] += group.load_balancing_weight.value
    return {
        (group.priority, host.endpoint.address.SerializeToString()): Fraction(
            group.load_balancing_weight.value, totals[group.priority] * len(group.lb_endpoints)
        )
        for group in groups
        for host in group.lb_endpoints
    }


def hashed_shares(groups: Any) -> dict[tuple[int, bytes], Fraction]:
    """The same for ring hash: the product of both weights."""
    weights = {
        (group.priority, host.endpoint.address.SerializeToString()): host.load_balancing_weight.value
        * group.load_balancing_weight.value
        for group in groups
        for host in group.lb_endpoints
    }
    totals: Counter[int] = Counter()
    for (priority, _), weight in weights.items():
        totals[priority] += weight
    return {key: Fraction(weight, totals[key[0]]) for key, weight in weights.items()}


def expected_shares(definition: Upstream, addresses: dict[str, list[str]]) -> dict[tuple[int, bytes], Fraction]:
    """The same from the assignment for Envoys, whose weights are those of endpoints."""
    priorities: dict[int, dict[bytes, int]] = {}
    for group in translate.endpoints(definition, addresses).endpoints:
        for host in group.lb_endpoints:
            if host.health_status == 0:
                weight = host.load_balancing_weight.value or 1
                priorities.setdefault(group.priority, {})[host.endpoint.address.SerializeToString()] = weight
    ranks = {priority: rank for rank, priority in enumerate(sorted(priorities))}
    return {
        (ranks[priority], address): Fraction(weight, sum(hosts.values()))
        for priority, hosts in priorities.items()
        for address, weight in hosts.items()
    }


@settings(max_examples=300, deadline=None)
@given(ALGORITHMS, TARGETS, ADDRESSES)
def test_R13_R21_an_assignment_is_what_grpc_takes_and_shares_are_weights(
    algorithm: str, targets: list[dict[str, Any]], addresses: dict[str, list[str]]
) -> None:
    definition = upstream(*targets, algorithm=algorithm)
    groups = assignment(definition, addresses).endpoints
    priorities = [group.priority for group in groups]
    assert priorities == sorted(priorities)
    assert set(priorities) == set(range(len(set(priorities)))), "without gaps"
    localities = [(group.priority, group.locality.SerializeToString()) for group in groups]
    assert len(set(localities)) == len(localities), "each locality once in a priority"
    assert all(group.HasField("locality") and group.load_balancing_weight.value > 0 for group in groups)
    totals: Counter[int] = Counter()
    for group in groups:
        totals[group.priority] += group.load_balancing_weight.value
    assert max(totals.values(), default=0) < 2**32
    hosts = [host for group in groups for host in group.lb_endpoints]
    places = [host.endpoint.address.SerializeToString() for host in hosts]
    assert len(set(places)) == len(places), "no address twice"
    assert not any(host.HasField("load_balancing_weight") and not host.load_balancing_weight.value for host in hosts)
    found = hashed_shares(groups) if algorithm in ("ring-hash", "maglev") else shares(groups)
    assert found == expected_shares(definition, addresses)


def test_the_order_of_targets_means_nothing() -> None:
    targets = [target(host=f"10.0.0.{n}", weight=1 + n % 3, locality={"zone": f"z{n % 2}"}) for n in range(1, 9)]
    one, other = (upstream(*order, algorithm="weighted-round-robin") for order in (targets, list(reversed(targets))))
    assert proxyless_resources(one, {}) == proxyless_resources(other, {})


def test_targets_are_no_part_of_listener_routes_and_cluster() -> None:
    def others(*targets: dict[str, Any]) -> list[Any]:
        made = proxyless_resources(upstream(*targets), {}).resources
        return [resource for resource in made if resource.type_url != ENDPOINTS]

    assert others() == others(target()) == others(target(), target(port=81, priority=1))


def test_R2_R11_every_exact_name_has_a_listener_and_the_rest_is_one() -> None:
    made = proxyless_resources(upstream(target(), hostnames=["b.example", "*.c.example", "a.example"]), {}).resources
    assert [(resource.type_url, resource.name) for resource in made] == [
        *((LISTENER, name) for name in ("u", "b.example", "a.example")),
        (ROUTES, "u"),
        (CLUSTER, "u"),
        (ENDPOINTS, "u"),
    ]


PASSIVE = {"consecutive_errors": 7}
WARNED = {
    "wildcard": ({"hostnames": ["*.a.example", "b.example"]}, "hostnames: .* not served as [*].a.example$"),
    "least-connections": (
        {"algorithm": "least-connections"},
        "algorithm: gRPC has no least-connections: .*round-robin",
    ),
    "random": ({"algorithm": "random"}, "algorithm: gRPC has no random: served as round-robin$"),
    "maglev": (
        {"algorithm": "maglev", "hash_on": [{"header": "x"}]},
        "algorithm: gRPC has no maglev: served as ring-hash$",
    ),
    "failover": ({"failover": "proportional"}, "failover: .* served as all-down$"),
    "send-all": ({"on_all_unhealthy": "send-all"}, "on_all_unhealthy: gRPC has no panic"),
    "active": ({"health_checks": {"active": {}}}, "health_checks.active: gRPC clients do not probe"),
    "passive": ({"health_checks": {"passive": PASSIVE}}, "health_checks.passive: .* at least 7 RPCs"),
    "no-ejection": ({"health_checks": {"passive": {"max_ejection_percent": 0}}}, "health_checks.passive: .* always"),
    "max_connections": ({"limits": {"max_connections": 1}}, "limits.max_connections: .*not limited"),
    "max_pending_requests": ({"limits": {"max_pending_requests": 1}}, "limits.max_pending_requests: .*not limited"),
    "max_retries": ({"limits": {"max_retries": 1}}, "limits.max_retries: .*not limited"),
    "per-target": ({"limits": {"max_connections_per_target": 1}}, "limits.max_connections_per_target: .*not limited"),
    "slow-start": ({"slow_start": {"window": "1s"}}, "slow_start: gRPC has none"),
    "source-ip": ({"algorithm": "ring-hash"}, "hash_on: .* each channel"),
    "source-ip-written": (
        {"algorithm": "ring-hash", "hash_on": [{"source_ip": True}]},
        r"hash_on\[0\].source_ip: .* each channel",
    ),
    "cookie": (
        {"algorithm": "ring-hash", "hash_on": [{"header": "x"}, {"cookie": "y"}]},
        r"hash_on\[1\]: gRPC does not hash cookies: left out$",
    ),
    "query": (
        {"algorithm": "ring-hash", "hash_on": [{"query_parameter": "y"}, {"path": True}]},
        r"hash_on\[0\]: gRPC does not hash query parameters: left out$",
    ),
    "binary": (
        {"algorithm": "ring-hash", "hash_on": [{"header": "x-bin"}, {"path": True}]},
        r"hash_on\[0\]: gRPC does not hash binary metadata: left out$",
    ),
    "host": ({"host_header": "target"}, "host_header: .* not rewritten$"),
    "connect-timeout": ({"connect_timeout": "1s"}, "connect_timeout: .* not applied$"),
    "timeout": ({"timeout": "1s"}, "timeout: .* 2 s"),
    "retries": (
        {"retries": {"on": ["reset", "unavailable", "5xx", "reset", "refused-stream"]}},
        "retries.on: .* not retried on reset, 5xx ",
    ),
    "attempts": ({"retries": {"attempts": 5, "on": ["internal"]}}, "retries.attempts: gRPC makes 4 retries at most$"),
    "envoy": ({"envoy": {"respect_dns_ttl": True}}, "envoy: .* not applied to gRPC clients$"),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_is_lost_is_warned_of(case: str) -> None:
    fields, warning = WARNED[case]
    (found,) = proxyless_resources(upstream(target(), **fields), {}).warnings
    assert re.match(warning, found), found


def test_nothing_left_to_hash_is_told_beside_its_reasons() -> None:
    definition = upstream(target(), algorithm="ring-hash", hash_on=[{"cookie": "x"}])
    assert proxyless_resources(definition, {}).warnings[-1].startswith("hash_on: nothing is left to hash")


PASSIVE_WARNED = {
    "shares": (
        {"failure_percentage": {"threshold": 40, "request_volume": 9}},
        "passive: .* more than 40 % of at least 9",
    ),
    "shares-alone": (
        {"consecutive_errors": 0, "failure_percentage": {}},
        "passive.failure_percentage: .* more than 85 % of at least 50 RPCs",
    ),
    "nothing": ({"consecutive_errors": 0, "consecutive_gateway_errors": 1}, "passive: .* nobody is ejected$"),
    "gateway": ({"consecutive_gateway_errors": 1}, "passive.consecutive_gateway_errors: .* not counted$"),
    "local": ({"consecutive_local_errors": 1}, "passive.consecutive_local_errors: .* not counted$"),
    "statuses": ({"error_statuses": [429]}, "passive.error_statuses: .* any status but OK$"),
    "jitter": ({"max_ejection_time_jitter": "1s"}, "passive.max_ejection_time_jitter: .* return together$"),
    "uneject": ({"uneject_on_passed_probe": True}, "passive.uneject_on_passed_probe: .* do not probe"),
}


@pytest.mark.parametrize("case", PASSIVE_WARNED)
def test_what_is_lost_of_passive_checks_is_warned_of(case: str) -> None:
    fields, warning = PASSIVE_WARNED[case]
    checks = {"passive": fields, **({"active": {}} if case == "uneject" else {})}
    found = proxyless_resources(upstream(target(), health_checks=checks), {}).warnings
    assert any(re.match(f"health_checks.{warning}", each) for each in found), found


NOT_WARNED = {
    "least": {},
    "full": {
        "hostnames": ["a.example"],
        "algorithm": "ring-hash",
        "hash_on": [{"header": "x-user"}, {"path": True}],
        "limits": {"max_requests": 5},
        "protocol": "http2",
        "retries": {"attempts": 4, "on": ["unavailable", "connect-failure", "refused-stream"]},
        "labels": {"a": "b"},
        "on_all_unhealthy": "fail",
        "nodes": {"clusters": ["edge"]},
    },
    "hash-of-others": {"hash_on": [{"cookie": "x"}]},
    "success-rate": {
        "health_checks": {"passive": {"consecutive_errors": 0, "success_rate": {}, "max_ejection_time": "50s"}}
    },
}


@pytest.mark.parametrize("case", NOT_WARNED)
def test_what_is_honoured_is_not_warned_of(case: str) -> None:
    assert proxyless_resources(upstream(target(), **NOT_WARNED[case]), {}).warnings == ()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"protocol": "tcp"}, "protocol: "),
        ({"tls": {"sni": "a.example"}}, "tls: .* plaintext"),
        ({"resolve": "envoy", "targets": [target(host="a.example"), target()]}, "resolve: .* has 2: use"),
    ],
    ids=["tcp", "tls", "resolve"],
)
def test_what_grpc_cannot_be_given_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ProxylessError, match=problem):
        proxyless_resources(upstream(**{"targets": [target()], **fields}), {})
