"""The `envoy:` field laid over a translated Cluster. How Envoy takes it is tested in tests/envoy."""

import importlib
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from xds_server.upstreams import translate
from xds_server.upstreams.model import RawCluster, Upstream
from xds_server.upstreams.translate.http_protocol import HTTP_PROTOCOL_OPTIONS
from xds_server.upstreams.translate.render import to_dict

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # envoy-data-plane's own

ANY_OPTIONS = f"type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}"
CHECKS = {"health_checks": {"active": {"path": "/healthz"}, "passive": {}}}


def cluster(envoy: Any, **fields: Any) -> Any:
    return translate.cluster(Upstream.model_validate({"name": "u", "envoy": envoy, **fields}))


def problems(envoy: Any, **fields: Any) -> dict[str, str]:
    with pytest.raises(translate.OverrideError) as caught:
        cluster(envoy, **fields)
    return {problem.field: problem.message for problem in caught.value.problems}


def raw(**fields: Any) -> RawCluster:
    return RawCluster(cluster_pb2.Cluster(**fields).SerializeToString())


def options_of(message: Any) -> Any:
    packed = message.typed_extension_protocol_options[HTTP_PROTOCOL_OPTIONS]
    return http_protocol_options_pb2.HttpProtocolOptions.FromString(packed.value)


@pytest.mark.parametrize("name", ["per_connection_buffer_limit_bytes", "perConnectionBufferLimitBytes"])
def test_both_spellings_of_a_field(name: str) -> None:
    assert cluster({name: 65536}).per_connection_buffer_limit_bytes.value == 65536


def test_false_and_zero_count() -> None:
    message = cluster({"ignore_health_on_host_removal": False, "outlier_detection": {"consecutive_5xx": 0}}, **CHECKS)
    assert message.ignore_health_on_host_removal is False
    assert message.outlier_detection.HasField("consecutive_5xx")
    assert message.outlier_detection.consecutive_5xx.value == 0
    assert message.outlier_detection.max_ejection_percent.value == 50, "the rest of ours stays"


def test_null_takes_a_field_of_ours_away() -> None:
    message = cluster({"outlier_detection": None, "circuit_breakers": {"thresholds": None}}, **CHECKS)
    assert not message.HasField("outlier_detection")
    assert not message.circuit_breakers.thresholds


def test_a_list_is_replaced_whole() -> None:
    check = {"timeout": "2s", "interval": "3s", "tcp_health_check": {}}
    message = cluster({"health_checks": [check]}, **CHECKS)
    assert [to_dict(item) for item in message.health_checks] == [check]
    assert not cluster({"health_checks": []}, **CHECKS).health_checks


def test_a_message_inside_an_any_of_the_same_type_is_merged() -> None:
    idle = {"@type": ANY_OPTIONS, "common_http_protocol_options": {"idle_timeout": "30s"}}
    options = options_of(cluster({"typed_extension_protocol_options": {HTTP_PROTOCOL_OPTIONS: idle}}, timeout="9s"))
    assert options.common_http_protocol_options.idle_timeout.seconds == 30
    assert options.common_http_protocol_options.max_stream_duration.seconds == 9
    assert options.explicit_http_config.HasField("http_protocol_options")


def test_an_any_of_another_type_is_replaced() -> None:
    plain = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    envoy = {"transport_socket": {"name": "plain", "typed_config": {"@type": plain}}}
    socket = cluster(envoy, tls={"sni": "a.example"}).transport_socket
    assert (socket.name, socket.typed_config.type_url, socket.typed_config.value) == ("plain", plain, b"")


def test_an_any_that_holds_a_well_known_type() -> None:
    wrapped = {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "5s"}
    message = cluster({"upstream_config": {"name": "x", "typed_config": wrapped}})
    assert to_dict(message)["upstream_config"]["typed_config"] == wrapped
    del wrapped["value"]
    assert problems({"upstream_config": {"typed_config": wrapped}}).keys() == {
        "envoy.upstream_config.typed_config.value"
    }


def test_a_member_of_a_oneof_takes_the_place_of_another() -> None:
    chosen = {"@type": ANY_OPTIONS, "auto_config": {}}
    options = options_of(cluster({"typed_extension_protocol_options": {HTTP_PROTOCOL_OPTIONS: chosen}}))
    assert options.WhichOneof("upstream_protocol_options") == "auto_config"


def test_maps_are_merged_by_key() -> None:
    wrapped = {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "5s"}
    keys = cluster({"typed_extension_protocol_options": {"other": wrapped}}).typed_extension_protocol_options.keys()
    assert set(keys) == {"other", HTTP_PROTOCOL_OPTIONS}
    gone = cluster({"typed_extension_protocol_options": {HTTP_PROTOCOL_OPTIONS: None}})
    assert not gone.typed_extension_protocol_options


@pytest.mark.parametrize("nested", [False, True])
def test_R32_a_field_that_only_newer_envoys_have(nested: bool) -> None:
    if nested:
        newer: dict[str, Any] = {"max_connection_duration_jitter": {"value": 10.0}}
        options = {"@type": ANY_OPTIONS, "common_http_protocol_options": newer}
        shown = to_dict(cluster({"typed_extension_protocol_options": {HTTP_PROTOCOL_OPTIONS: options}}, timeout="1s"))
        expected = {"max_stream_duration": "1s", **newer}
        assert (
            shown["typed_extension_protocol_options"][HTTP_PROTOCOL_OPTIONS]["common_http_protocol_options"] == expected
        )
    else:
        shown = to_dict(cluster({"perConnectionBufferHighWatermarkTimeout": "5s"}))
        assert shown["per_connection_buffer_high_watermark_timeout"] == "5s"


def test_an_envoy_data_plane_object() -> None:
    v3 = importlib.import_module("envoy_data_plane.envoy.config.cluster.v3")
    given = v3.Cluster(
        per_connection_buffer_high_watermark_timeout=timedelta(seconds=5),
        common_lb_config=v3.ClusterCommonLbConfig(
            update_merge_window=timedelta(0), ignore_new_hosts_until_first_hc=False
        ),
        outlier_detection=v3.OutlierDetection(consecutive_5xx=0),
    )
    message = cluster(given, **CHECKS)
    assert message.common_lb_config.HasField("update_merge_window")
    assert message.common_lb_config.HasField("healthy_panic_threshold"), "the rest of ours stays"
    assert message.outlier_detection.consecutive_5xx.value == 0
    assert to_dict(message)["per_connection_buffer_high_watermark_timeout"] == "5s"


def test_a_protobuf_object_is_merged_like_json() -> None:
    given = cluster_pb2.Cluster()
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.seconds = 30
    given.typed_extension_protocol_options[HTTP_PROTOCOL_OPTIONS].Pack(options)
    given.health_checks.add().timeout.seconds = 2
    given.metadata.filter_metadata["owner"].update({"team": "billing"})
    message = cluster(given, timeout="9s", **CHECKS)
    assert options_of(message).common_http_protocol_options.max_stream_duration.seconds == 9
    assert options_of(message).common_http_protocol_options.idle_timeout.seconds == 30
    assert [check.timeout.seconds for check in message.health_checks] == [2]
    assert message.metadata.filter_metadata["owner"]["team"] == "billing"


def test_a_protobuf_object_replaces_an_any_of_another_type() -> None:
    given = cluster_pb2.Cluster()
    given.transport_socket.name = "mine"
    given.transport_socket.typed_config.Pack(tls_pb2.DownstreamTlsContext())
    socket = cluster(given, tls={"sni": "a.example"}).transport_socket
    assert socket.typed_config.TypeName() == "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


@pytest.mark.parametrize(
    "fields",
    [{"name": "other"}, {"type": cluster_pb2.Cluster.STATIC}, {"load_assignment": {"cluster_name": "x"}}],
)
def test_bytes_may_not_hold_what_json_may_not(fields: dict[str, Any]) -> None:
    (field,) = fields
    assert "it ties the cluster to its name and targets" in problems(raw(**fields))[f"envoy.{field}"]


def test_bytes_that_are_no_cluster() -> None:
    assert problems(RawCluster(b"\xff\xff")) == {"envoy": "these bytes are not an Envoy Cluster"}


def test_every_mistake_is_told_by_its_place() -> None:
    found = problems(
        {
            "outlier_detecton": {},
            "connect_timeout": 5,
            "health_checks": [{"timeout": "abc"}, {"tcp_health_check": {}, "http_health_check": {"pth": "/"}}],
            "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": "x"}},
            "per_connection_buffer_limit_bytes": -1,
            "dns_lookup_family": "V5_ONLY",
            "ignore_health_on_host_removal": "yes",
            "metadata": [],
            "filters": {},
            "typed_extension_protocol_options": 3,
            "upstream_config": {"typed_config": {"@type": "type.googleapis.com/envoy.foo.v3.Bar"}},
            "transport_socket": {"typed_config": {"sni": "x"}},
            "per_connection_buffer_high_watermark_timeout": 5,
            "alt_stat_name": 7,
            "transport_socket_matches": [{"match": {"a": 1}}, None],
        }
    )
    assert found == {
        "envoy.outlier_detecton": "unknown field 'outlier_detecton'; did you mean 'outlier_detection'?",
        "envoy.connect_timeout": "expected seconds with their unit, for example '5s' or '0.25s', found 5",
        "envoy.health_checks[0].timeout": "expected seconds with their unit, for example '5s' or '0.25s', found 'abc'",
        "envoy.health_checks[1].http_health_check": (
            "'tcp_health_check' is given as well, and only one of them can be"
        ),
        "envoy.upstream_connection_options.tcp_keepalive.keepalive_time": (
            "expected a whole number from 0 to 4294967295, found 'x'"
        ),
        "envoy.per_connection_buffer_limit_bytes": "expected a whole number from 0 to 4294967295, found -1",
        "envoy.dns_lookup_family": "expected one of AUTO, V4_ONLY, V6_ONLY, V4_PREFERRED, ALL, found 'V5_ONLY'",
        "envoy.ignore_health_on_host_removal": "expected true or false, found 'yes'",
        "envoy.metadata": "expected fields (name: value), found []",
        "envoy.filters": "expected a list, found {}",
        "envoy.typed_extension_protocol_options": "expected fields (name: value), found 3",
        "envoy.upstream_config.typed_config.@type": "there is no type 'envoy.foo.v3.Bar'",
        "envoy.transport_socket.typed_config": (
            "expected fields with '@type', for example '@type': type.googleapis.com/envoy.…"
        ),
        "envoy.per_connection_buffer_high_watermark_timeout": found[
            "envoy.per_connection_buffer_high_watermark_timeout"
        ],
        "envoy.alt_stat_name": "expected text, found 7",
        "envoy.transport_socket_matches[1]": "expected fields (name: value), found null",
    }


@pytest.mark.parametrize(
    ("envoy", "field"),
    [
        ({"lb_policy": "RANDOM"}, "envoy.lb_policy"),
        ({"maglev_lb_config": {}}, "envoy.maglev_lb_config"),
        (
            {"common_lb_config": {"locality_weighted_lb_config": {}}},
            "envoy.common_lb_config.locality_weighted_lb_config",
        ),
    ],
)
def test_legacy_load_balancing_beside_ours_is_told(envoy: dict[str, Any], field: str) -> None:
    assert "load_balancing_policy" in problems(envoy)[field]
    assert cluster({**envoy, "load_balancing_policy": None}).HasField("load_balancing_policy") is False


def test_equal_overrides_give_equal_bytes_in_another_process() -> None:
    code = (
        "from xds_server.upstreams import translate; from xds_server.upstreams.model import Upstream;"
        "e = {'metadata': {'filter_metadata': {k: {v: 1 for v in 'xyzuvw'} for k in 'abcdef'}}};"
        "print(translate.cluster_resource(Upstream(name='u', envoy=e)).version)"
    )
    versions = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in range(3)
    }
    assert len(versions) == 1


def test_envoy_data_plane_is_imported_only_when_it_is_needed() -> None:
    code = (
        "import sys; from xds_server.upstreams import translate; from xds_server.upstreams.model import Upstream;"
        "translate.cluster(Upstream(name='u', envoy={'alt_stat_name': 'x'}));"
        "print('envoy_data_plane' in sys.modules);"
        "translate.cluster(Upstream(name='u', envoy={'per_connection_buffer_high_watermark_timeout': '5s'}));"
        "print('envoy_data_plane' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]
