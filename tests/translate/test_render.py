"""Resources as text."""

import json

import yaml
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.render import to_json, to_yaml

UPSTREAM = Upstream.model_validate(
    {
        "name": "u",
        "algorithm": "ring-hash",
        "targets": [{"host": "10.0.0.1", "port": 80, "labels": {"b": "1", "a": "2"}}],
        "health_checks": {"active": {"expected_statuses": [204]}, "passive": {}},
        "tls": {"sni": "a.example"},
        "envoy": {"metadata": {"filter_metadata": {"x": {"list": [1, None, {"b": 1, "a": True}]}}}},
    }
)


def test_yaml_and_json_say_the_same() -> None:
    messages = [translate.cluster(UPSTREAM), translate.endpoints(UPSTREAM)]
    assert yaml.safe_load(to_yaml(messages)) == json.loads(to_json(messages))


def test_what_is_shown_reads_back_as_the_same_message() -> None:
    message = translate.cluster(UPSTREAM)
    (shown,) = json.loads(to_json([message]))["resources"]
    assert shown.pop("@type") == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    assert json_format.ParseDict(shown, cluster_pb2.Cluster()) == message


def test_a_type_that_nobody_knows_is_shown_with_its_bytes() -> None:
    message = cluster_pb2.Cluster(name="u")
    message.transport_socket.typed_config.type_url = "type.googleapis.com/example.Unknown"
    message.transport_socket.typed_config.value = b"\x08\x01"
    (shown,) = json.loads(to_json([message]))["resources"]
    expected = {"@type": "type.googleapis.com/example.Unknown", "value": "CAE="}
    assert shown["transport_socket"]["typed_config"] == expected
