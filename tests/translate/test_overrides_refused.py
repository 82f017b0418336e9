"""What `envoy:` may not change, and how a wrong value of a field is told that only newer Envoys have."""

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from xds_server.upstreams import translate
from xds_server.upstreams.model import RawCluster, Upstream
from xds_server.upstreams.translate.http_protocol import HTTP_PROTOCOL_OPTIONS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # envoy-data-plane's own

BY_ENVOY = {"resolve": "envoy", "targets": [{"host": "a.example", "port": 80}]}
TCP = {"protocol": "tcp"}


def problems(envoy: Any, **fields: Any) -> dict[str, str]:
    try:
        translate.cluster(Upstream.model_validate({"name": "u", "envoy": envoy, **fields}))
    except translate.OverrideError as error:
        return {problem.field: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("envoy", "field"),
    [
        ({"common_lb_config": {"healthy_panic_threshold": {"value": 30}}}, "common_lb_config.healthy_panic_threshold"),
        ({"common_lb_config": {"healthy_panic_threshold": None}}, "common_lb_config.healthy_panic_threshold"),
        ({"commonLbConfig": {"healthyPanicThreshold": {"value": 1}}}, "commonLbConfig.healthyPanicThreshold"),
        ({"common_lb_config": None}, "common_lb_config"),
        (
            RawCluster(
                cluster_pb2.Cluster(common_lb_config={"healthy_panic_threshold": {"value": 3}}).SerializeToString()
            ),
            "common_lb_config.healthy_panic_threshold",
        ),
    ],
)
def test_the_panic_threshold_belongs_to_on_all_unhealthy(envoy: Any, field: str) -> None:
    words = "'healthy_panic_threshold' cannot be changed here: set the upstream's on_all_unhealthy"
    assert problems(envoy) == {f"envoy.{field}": words}


def test_the_same_panic_threshold_is_no_change() -> None:
    assert problems({"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}) == {}
    one = {"common_lb_config": {"healthy_panic_threshold": {"value": 1}}}
    assert problems(one, on_all_unhealthy="send-all") == {}


@pytest.mark.parametrize(
    "name",
    [
        "upstream_http_protocol_options",
        "common_http_protocol_options",
        "http_protocol_options",
        "http2_protocol_options",
        "http2ProtocolOptions",
    ],
)
def test_http_options_beside_newer_ones_are_refused(name: str) -> None:
    ((field, message),) = problems({name: {}}).items()
    assert field == f"envoy.{name}"
    assert "has no effect beside typed_extension_protocol_options: set the upstream's protocol" in message
    assert problems({name: {}}, **TCP) == {}, "plain TCP has no newer ones"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dns_refresh_rate", "5s"),
        ("dnsRefreshRate", "5s"),
        ("dns_failure_refresh_rate", {"base_interval": "5s"}),
        ("dns_jitter", "1s"),
        ("respect_dns_ttl", True),
        ("dns_lookup_family", "V4_ONLY"),
        ("dns_resolvers", [{"socket_address": {"address": "10.0.0.1", "port_value": 53}}]),
        ("dns_resolution_config", {}),
        ("typed_dns_resolver_config", {"name": "x"}),
        ("use_tcp_for_dns_lookups", True),
    ],
)
def test_dns_settings_beside_the_newer_dns_cluster_are_refused(name: str, value: Any) -> None:
    ((field, message),) = problems({name: value}, **BY_ENVOY).items()
    assert field == f"envoy.{name}"
    assert "has no effect beside cluster_type" in message


NEWER = "per_connection_buffer_high_watermark_timeout"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *(
            (value, f"{shown} is not the proto JSON of this field")
            for value, shown in [(5, "5"), (1.5, "1.5"), (True, "true"), ([1], "[1]"), ("x", "'x'"), ("5", "'5'")]
        ),
        ({"a": 1}, "unknown field 'a' in message Duration."),
    ],
)
def test_a_wrong_value_of_a_newer_field_is_told_without_pythons_words(value: Any, words: str) -> None:
    assert problems({NEWER: value}) == {f"envoy.{NEWER}": words}


@pytest.mark.parametrize("value", [5, {"value": "x"}, {"value": []}])
def test_inside_a_packed_message_too(value: Any) -> None:
    packed = {
        "@type": f"type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}",
        "common_http_protocol_options": {"max_connection_duration_jitter": value},
    }
    ((_, message),) = problems({"typed_extension_protocol_options": {HTTP_PROTOCOL_OPTIONS: packed}}).items()
    assert message.endswith(" is not the proto JSON of this field")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "null"), ([None, True], "[null, true]"), (True, "true"), ("x", "'x'")]
)
def test_wrong_values_are_shown_as_they_are_written(value: Any, shown: str) -> None:
    assert problems({"health_checks": [value]}) == {
        "envoy.health_checks[0]": f"expected fields (name: value), found {shown}"
    }


@pytest.mark.parametrize(
    ("envoy", "field", "refused"),
    [
        ({"load_assignmnt": {}}, "load_assignmnt", "load_assignment"),
        ({"cluster_typ": {}}, "cluster_typ", "cluster_type"),
        ({"lb_polcy": "RANDOM"}, "lb_polcy", "lb_policy"),
        ({"http2_protocol_option": {}}, "http2_protocol_option", "http2_protocol_options"),
        ({"commonLbConfig": {"healthy_panic_treshold": {}}}, "commonLbConfig.healthy_panic_treshold", "healthy_panic"),
    ],
)
def test_a_misspelt_name_is_not_taken_for_one_that_is_refused(envoy: Any, field: str, refused: str) -> None:
    (message,) = problems(envoy).values()
    assert message.startswith(f"unknown field {field.rpartition('.')[2]!r}; ")
    assert refused not in message.partition("; ")[2]
    assert [*problems(envoy)] == [f"envoy.{field}"]


def test_a_misspelt_name_is_taken_for_one_that_is_not() -> None:
    assert "did you mean 'max_requests_per_connection'?" in problems({"max_request_per_connection": 1}).popitem()[1]
