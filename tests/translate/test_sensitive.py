"""Secrets that are written out in `envoy:` are refused wherever Envoy has a place for one, and no message shows any of it."""

import base64
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from xds_server.upstreams import translate
from xds_server.upstreams.model import RawCluster, Upstream
from xds_server.upstreams.translate.sensitive import INSTEAD, in_definition

KEY = "-----BEGIN PRIVATE KEY-----\nMIIsecretsecret\n-----END PRIVATE KEY-----\n"
TYPES = "type.googleapis.com/envoy.extensions"
INLINE: list[dict[str, Any]] = [
    {"inline_string": "hunter2"},
    {"inlineString": "hunter2"},
    {"inline_bytes": base64.b64encode(b"hunter2").decode()},
]
ELSEWHERE: list[dict[str, Any]] = [
    {"filename": "/etc/secret"},
    {"filename": "/etc/secret", "watched_directory": {"path": "/etc"}},
    {"environment_variable": "SECRET"},
]


def tls(**certificate: Any) -> dict[str, Any]:
    common = {"tls_certificates": [certificate]}
    context = {"@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": common}
    return {"transport_socket": {"name": "tls", "typed_config": context}}


def in_a_wrapper(**certificate: Any) -> dict[str, Any]:
    inner = tls(**certificate)["transport_socket"]
    wrapper = {"@type": f"{TYPES}.transport_sockets.tap.v3.Tap", "transport_socket": inner}
    return {"transport_socket_matches": [{"name": "m", "transport_socket": {"name": "tap", "typed_config": wrapper}}]}


def redis(**fields: Any) -> dict[str, Any]:
    options = {"@type": f"{TYPES}.filters.network.redis_proxy.v3.RedisProtocolOptions", **fields}
    return {"typed_extension_protocol_options": {"envoy.filters.network.redis_proxy": options}}


def http_filter(name: str, **fields: Any) -> dict[str, Any]:
    return {"filters": [{"name": "f", "typed_config": {"@type": f"{TYPES}.{name}", **fields}}]}


def problems(envoy: Any) -> dict[str, str]:
    try:
        translate.cluster(Upstream.model_validate({"name": "u", "envoy": envoy}))
    except translate.OverrideError as error:
        return {problem.field: problem.message for problem in error.problems}
    return {}


_CERTIFICATE = "envoy.transport_socket.typed_config.common_tls_context.tls_certificates[0]"
_TAPPED = "envoy.transport_socket_matches[0].transport_socket.typed_config.transport_socket.typed_config"
_REDIS = "envoy.typed_extension_protocol_options.envoy.filters.network.redis_proxy"
PLACES = [
    (lambda source: tls(private_key=source), f"{_CERTIFICATE}.private_key"),
    (lambda source: tls(pkcs12=source), f"{_CERTIFICATE}.pkcs12"),
    (lambda source: tls(password=source), f"{_CERTIFICATE}.password"),
    (
        lambda source: in_a_wrapper(private_key=source),
        f"{_TAPPED}.common_tls_context.tls_certificates[0].private_key",
    ),
    (lambda source: redis(auth_password=source), f"{_REDIS}.auth_password"),
    (
        lambda source: redis(credentials=[{"auth_password": source}]),
        f"{_REDIS}.credentials[0].auth_password",
    ),
]


@pytest.mark.parametrize(("made", "place"), PLACES, ids=[place.rpartition(".")[2] for _, place in PLACES])
def test_what_is_written_out_is_refused_and_what_is_elsewhere_is_not(made: Any, place: str) -> None:
    for source in INLINE:
        found = problems(made(source))
        ((field, message),) = [(f, m) for f, m in found.items() if "secret" in m]
        assert field == f"{place}.{next(iter(source))}"
        assert message.endswith(INSTEAD)
        assert "hunter2" not in str(found)
        assert [each.field for each in in_definition(made(source))] == [field]
    for source in ELSEWHERE:
        assert not any("secret" in message for message in problems(made(source)).values())
        assert in_definition(made(source)) == []


def test_texts_that_are_secret_themselves() -> None:
    aws = "filters.http.aws_request_signing.v3.AwsRequestSigning"
    provider = {"access_key_id": "AKIA", "secret_access_key": "hunter2", "session_token": "hunter2"}
    found = in_definition(http_filter(aws, service_name="s3", credential_provider={"inline_credential": provider}))
    assert [each.field.rpartition(".")[2] for each in found] == ["secret_access_key", "session_token"]


def test_what_is_no_secret_may_be_written() -> None:
    authorities = {"validation_context": {"trusted_ca": {"inline_string": "-----BEGIN CERTIFICATE-----"}}}
    context = {"@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": authorities}
    assert in_definition({"transport_socket": {"name": "tls", "typed_config": context}}) == []
    assert in_definition(tls(certificate_chain={"inline_string": "-----BEGIN CERTIFICATE-----"})) == []
    assert in_definition({}) == []


def test_of_a_message_too() -> None:
    cluster = cluster_pb2.Cluster()
    body = {"private_key": {"inline_string": "hunter2"}}
    translated = translate.cluster(Upstream(name="u"))
    from google.protobuf import json_format

    json_format.ParseDict(tls(**body), cluster)
    json_format.ParseDict(tls(**body), translated)
    raw = RawCluster(cluster.SerializeToString())
    assert [*problems(raw)] == [f"{_CERTIFICATE}.private_key.inline_string"]
    assert [each.field for each in in_definition(raw)] == [f"{_CERTIFICATE}.private_key.inline_string"]
    assert in_definition(RawCluster(b"\xff")) == []


def test_a_private_key_is_found_where_it_does_not_belong() -> None:
    lua = "filters.http.lua.v3.Lua"
    (found,) = in_definition(http_filter(lua, default_source_code={"inline_string": f"local key = [[{KEY}]]"}))
    assert found.field == "envoy.filters[0].typed_config.default_source_code.inline_string"
    assert [each.field for each in in_definition({"alt_stat_name": KEY})] == ["envoy.alt_stat_name"]


@pytest.mark.parametrize(
    "envoy",
    [
        tls(private_key="hunter2"),
        tls(private_key=["hunter2"]),
        tls(private_key={"inline_string": {"hunter2": 1}}),
        tls(private_key={"inline_bytes": "hunter2!"}),
        tls(private_key={"filename": ["hunter2"]}),
        tls(password={"inline_string": "hunter2", "filename": "x"}),
        {"alt_stat_name": [KEY.replace("secret", "hunter2")]},
        {"connect_timeout": KEY.replace("secret", "hunter2")},
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_it(envoy: dict[str, Any]) -> None:
    found = problems(envoy)
    assert found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"description": KEY},
        {"tls": {"sni": "a", "cert_file": "/c.pem", "key_file": KEY}},
        {"tls": {"sni": "a", "cert_file": "/c.pem", "key_file": KEY.replace("\n", " ")}},
        {"algorithm": KEY},
        {"connect_timeout": KEY},
        {"targets": [{"host": KEY, "port": 80}]},
    ],
)
def test_a_private_key_in_any_other_field_is_refused_and_not_shown(fields: dict[str, Any]) -> None:
    from xds_server.upstreams.checking import check

    checked = check({"name": "u", **fields}, Upstream)
    assert checked.problems
    assert "MII" not in str(checked.problems)
