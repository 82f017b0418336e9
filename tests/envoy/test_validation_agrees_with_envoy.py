"""Our reading of Envoy's field rules, held against Envoy itself: what one refuses for them, the other refuses too.

Only refusals for field rules are in the table of the broken. Envoy refuses more after these rules (an unknown
transport socket, a listener without a filter chain, a regular expression that does not compile): that is beyond `check`.
"""

import subprocess
from pathlib import Path

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2
from envoy_messages import (
    HTTP1,
    HTTP_OPTIONS,
    MAGLEV,
    PROBE,
    ROUND_ROBIN,
    ROUTER,
    assignment,
    breaker,
    cluster,
    forward,
    host,
    http_cluster,
    http_filter,
    listener,
    match,
    packed,
    policy,
    probe,
    route,
    routes,
    target,
    tls,
)
from google.protobuf import json_format
from google.protobuf.message import Message

from xds_server.testing import find_envoy
from xds_server.xds.validation import check

pytestmark = pytest.mark.envoy

ROUTE = "virtual_hosts[0].routes[0]"
LB = "endpoints[0].lb_endpoints[0]"
OPTIONS = f"typed_extension_protocol_options['{HTTP_OPTIONS}']"
POLICY = "load_balancing_policy.policies[0].typed_extension_config.typed_config"

BROKEN: list[tuple[str, Message]] = [
    ("name", cluster(name="")),
    ("connect_timeout", cluster(connect_timeout="0s")),
    ("dns_refresh_rate", cluster(dns_refresh_rate="0.001s")),
    (
        "health_checks[0].timeout",
        cluster(health_checks=[{**PROBE, "timeout": "0s", "http_health_check": {"path": "/"}}]),
    ),
    ("health_checks[0].interval", probe(interval="0s")),
    ("health_checks[0].unhealthy_threshold", probe(unhealthy_threshold=None)),
    ("health_checks[0].health_checker", cluster(health_checks=[PROBE])),
    ("health_checks[0].http_health_check.path", probe(http_health_check={"path": ""})),
    ("health_checks[0].http_health_check.host", probe(http_health_check={"path": "/", "host": "a\nb"})),
    ("health_checks[0].http_health_check.method", probe(http_health_check={"path": "/", "method": "CONNECT"})),
    ("outlier_detection.max_ejection_percent", cluster(outlier_detection={"max_ejection_percent": 101})),
    ("outlier_detection.interval", cluster(outlier_detection={"interval": "0s"})),
    ("circuit_breakers.thresholds[0].priority", breaker(priority=7)),
    (
        "circuit_breakers.thresholds[0].retry_budget.budget_percent.value",
        breaker(retry_budget={"budget_percent": {"value": 101}}),
    ),
    ("maglev_lb_config.table_size", cluster(lb_policy="MAGLEV", maglev_lb_config={"table_size": 5000012})),
    ("transport_socket.typed_config.sni", tls(sni="a" * 256)),
    (
        f"{OPTIONS}.common_http_protocol_options.idle_timeout",
        http_cluster(**HTTP1, common_http_protocol_options={"idle_timeout": "-1s"}),
    ),
    ("connect_timeout", cluster(connect_timeout="9223372036s")),
    ("ring_hash_lb_config.maximum_ring_size", cluster(ring_hash_lb_config={"maximum_ring_size": 8388609})),
    ("least_request_lb_config.choice_count", cluster(least_request_lb_config={"choice_count": 1})),
    ("lb_policy", cluster(lb_policy=99)),
    ("transport_socket.name", cluster(transport_socket={"name": ""})),
    (f"{OPTIONS}.upstream_protocol_options", http_cluster()),
    ("metadata.filter_metadata['']", cluster(metadata={"filter_metadata": {"": {}}})),
    ("cluster_name", assignment(cluster_name="")),
    (f"{LB}.load_balancing_weight", target(load_balancing_weight=0)),
    ("endpoints[0].load_balancing_weight", assignment({"load_balancing_weight": 0})),
    ("endpoints[0].priority", assignment({"priority": 129})),
    (
        f"{LB}.endpoint.address.socket_address.port_value",
        target(endpoint={"address": {"socket_address": {"address": "127.0.0.1", "port_value": 65536}}}),
    ),
    (
        f"{LB}.endpoint.address.socket_address.address",
        target(endpoint={"address": {"socket_address": {"port_value": 1}}}),
    ),
    (
        f"{LB}.endpoint.address.socket_address.port_specifier",
        target(endpoint={"address": {"socket_address": {"address": "127.0.0.1"}}}),
    ),
    (f"{LB}.endpoint.address.address", target(endpoint={"address": {}})),
    ("policy.drop_overloads[0].category", assignment(policy={"drop_overloads": [{"category": ""}]})),
    ("policy.overprovisioning_factor", assignment(policy={"overprovisioning_factor": 0})),
    ("filter_chains[0].filters[0].name", listener(filter_chains=[{"filters": [{"name": ""}]}])),
    ("filter_chains[0].filters[0].typed_config.stat_prefix", listener(filter_chains=[{"filters": [http_filter("")]}])),
    ("listener_filters[0].name", listener(listener_filters=[{"name": ""}])),
    (
        "filter_chains[0].filter_chain_match.source_ports[0]",
        listener(filter_chains=[{"filter_chain_match": {"source_ports": [70000]}}]),
    ),
    (
        "access_log[0].filter.or_filter.filters",
        listener(access_log=[{"name": "a", "filter": {"or_filter": {"filters": [{"traceable_filter": {}}]}}}]),
    ),
    (
        "access_log[0].filter.response_flag_filter.flags[0]",
        listener(access_log=[{"name": "a", "filter": {"response_flag_filter": {"flags": ["XX"]}}}]),
    ),
    ("virtual_hosts[0].name", host(name="")),
    ("virtual_hosts[0].domains", host(domains=[])),
    ("virtual_hosts[0].domains[0]", host(domains=["a\r\nb"])),
    (f"{ROUTE}.match", host(routes=[{"direct_response": {"status": 200}}])),
    (f"{ROUTE}.match.path_specifier", match()),
    (f"{ROUTE}.match.path_separated_prefix", match(path_separated_prefix="/a/")),
    (f"{ROUTE}.match.headers[0].name", match(prefix="/", headers=[{"name": "a\nb", "present_match": True}])),
    (f"{ROUTE}.match.headers[0].name", match(prefix="/", headers=[{"name": ""}])),
    (f"{ROUTE}.match.query_parameters[0].name", match(prefix="/", query_parameters=[{"name": ""}])),
    (f"{ROUTE}.match.safe_regex.regex", match(safe_regex={"regex": ""})),
    (f"{ROUTE}.action", host(routes=[{"match": {"prefix": "/"}}])),
    (f"{ROUTE}.direct_response.status", route(direct_response={"status": 600})),
    (
        f"{ROUTE}.request_headers_to_add[0].header",
        route(request_headers_to_add=[{"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]),
    ),
    (f"{ROUTE}.request_headers_to_add[0].header.key", route(request_headers_to_add=[{"header": {"key": "a\nb"}}])),
    (
        f"{ROUTE}.request_headers_to_add[0].header.value",
        route(request_headers_to_add=[{"header": {"key": "a", "value": "b\0"}}]),
    ),
    (f"{ROUTE}.response_headers_to_remove[0]", route(response_headers_to_remove=["\n"])),
    (f"{ROUTE}.route.cluster", forward(cluster="")),
    (f"{ROUTE}.route.cluster_specifier", forward(cluster=None)),
    (f"{ROUTE}.route.weighted_clusters.clusters", forward(cluster=None, weighted_clusters={"clusters": []})),
    (
        f"{ROUTE}.route.retry_policy.retry_back_off.base_interval",
        forward(retry_policy={"retry_back_off": {"max_interval": "1s"}}),
    ),
    (
        f"{ROUTE}.route.retry_policy.retry_host_predicate[0].name",
        forward(retry_policy={"retry_host_predicate": [{"name": ""}]}),
    ),
    (f"{ROUTE}.route.hash_policy[0].policy_specifier", forward(hash_policy=[{}])),
    (f"{ROUTE}.route.hash_policy[0].cookie.name", forward(hash_policy=[{"cookie": {"name": ""}}])),
    (f"{ROUTE}.route.host_rewrite_literal", forward(host_rewrite_literal="a\nb")),
]

FINE: list[Message] = [
    cluster(connect_timeout="9223372035.999999999s", dns_refresh_rate="0.001000001s", alt_stat_name=""),
    cluster(health_checks=[{**PROBE, "http_health_check": {"path": "/", "host": ""}}]),
    cluster(outlier_detection={"max_ejection_percent": 100, "consecutive_5xx": 0, "enforcing_success_rate": 0}),
    cluster(circuit_breakers={"thresholds": [{"max_connections": 0}, {"priority": "HIGH", "retry_budget": {}}]}),
    cluster(lb_policy="MAGLEV", maglev_lb_config={"table_size": 5000011}),
    cluster(lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 2}),
    cluster(lb_policy="RING_HASH", ring_hash_lb_config={"maximum_ring_size": 8388608}),
    cluster(metadata={"filter_metadata": {"a": {"": None}}}),
    http_cluster(**HTTP1),
    policy(ROUND_ROBIN),
    target(load_balancing_weight=1),
    target(load_balancing_weight=4294967295),
    assignment({"priority": 0, "load_balancing_weight": 1}),
    assignment(policy={"overprovisioning_factor": 1, "drop_overloads": [{"category": "a", "drop_percentage": {}}]}),
    assignment(),
    listener(filter_chains=[{"filters": [http_filter()], "filter_chain_match": {"source_ports": [1, 65535]}}]),
    routes(),
    host(domains=["a.example", "*.b.example"]),
    match(path_separated_prefix="/a/b"),
    match(path=""),
    match(prefix="", headers=[{"name": ":authority", "present_match": True}], query_parameters=[{"name": "q"}]),
    route(direct_response={"status": 599}),
    # The comma is in no header's name, but Envoy's expression has the range "+-." and lets it pass.
    route(request_headers_to_add=[{"header": {"key": "a,b", "value": "tab\tand \u00e9"}}]),
    route(response_headers_to_remove=["x-a"]),
    forward(retry_policy={"num_retries": 0, "retry_back_off": {"base_interval": "1s"}}, timeout="0s"),
    forward(hash_policy=[{"header": {"header_name": "x"}}], host_rewrite_literal=""),
]


STRICTER: list[tuple[str, Message]] = [
    (
        "preconnect_policy.per_upstream_preconnect_ratio",
        cluster(preconnect_policy={"per_upstream_preconnect_ratio": "NaN"}),
    ),
    (f"{POLICY}.table_size", policy(MAGLEV, table_size=5000077)),
    (
        "metadata.typed_filter_metadata['a'].strict_check_headers[0]",
        cluster(metadata={"typed_filter_metadata": {"a": packed(ROUTER, strict_check_headers=["b"])}}),
    ),
]


@pytest.mark.parametrize(("path", "message"), BROKEN, ids=[path for path, _ in BROKEN])
def test_both_refuse(path: str, message: Message, tmp_path: Path) -> None:
    assert [violation.path for violation in check(message)] == [path]
    code, log = load([message], tmp_path)
    assert code != 0
    assert "Proto constraint validation failed" in log or "Invalid duration" in log, log


def test_both_accept(tmp_path: Path) -> None:
    assert [check(message) for message in FINE] == [[] for _ in FINE]
    code, log = load(FINE, tmp_path)
    assert code == 0, log


def test_we_are_stricter_where_envoy_does_not_look(tmp_path: Path) -> None:
    """Pinned, so that the day on which Envoy looks is seen, and nobody calls it a bug before."""
    assert [[violation.path for violation in check(message)] for _, message in STRICTER] == [
        [path] for path, _ in STRICTER
    ]
    code, log = load([message for _, message in STRICTER], tmp_path)
    assert code == 0, log


def load(messages: list[Message], directory: Path) -> tuple[int, str]:
    """Have Envoy load `messages` as static resources, without opening a port: its exit code and its log."""
    bootstrap = bootstrap_pb2.Bootstrap()
    bootstrap.node.id = bootstrap.node.cluster = "validation"
    resources = bootstrap.static_resources
    resources.clusters.add(name="c")  # where routes lead
    for number, message in enumerate(messages):
        if isinstance(message, cluster_pb2.Cluster):
            resources.clusters.append(message)
            resources.clusters[-1].name = message.name and f"c{number}"
        elif isinstance(message, endpoint_pb2.ClusterLoadAssignment):
            resources.clusters.add(name=f"c{number}").load_assignment.CopyFrom(message)
        else:
            routes_only = isinstance(message, route_pb2.RouteConfiguration)
            resources.listeners.append(listener_of(message) if routes_only else message)
            resources.listeners[-1].name = f"l{number}"
            resources.listeners[-1].address.socket_address.port_value = 10000 + number
    config = directory / "bootstrap.pb"
    config.write_bytes(bootstrap.SerializeToString())
    command = [find_envoy(), "--mode", "validate", "-l", "error", "--concurrency", "1", "-c", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def listener_of(table: Message) -> Message:
    fields = json_format.MessageToDict(table, preserving_proto_field_name=True)
    return listener(filter_chains=[{"filters": [http_filter(**fields)]}])
