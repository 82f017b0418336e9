"""Secrets of an upstream: what changes them changes no Cluster, and they come the way that clusters come."""

from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Dialect

FILES = {"ca_file": "/ca", "cert_file": "/c", "key_file": "/k"}
HELD = {"ca": "authorities", "certificate": "payments"}


def upstream(tls: dict[str, Any]) -> Upstream:
    targets = [{"host": "10.0.0.1", "port": 443}]
    return Upstream.model_validate({"name": "u", "targets": targets, "tls": {"sni": "u.internal", **tls}})


def encoded(message: Any) -> bytes:
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def test_where_certificates_come_from_is_no_part_of_the_cluster() -> None:
    made = {encoded(translate.cluster(upstream(tls))) for tls in (FILES, {**FILES, "ca_file": "/other"}, HELD)}
    assert len(made) == 1


def test_secrets_hold_paths_or_content() -> None:
    certificate, authorities = translate.secrets(upstream(FILES), {})
    assert (certificate.name, authorities.name) == ("u/certificate", "u/ca")
    assert certificate.tls_certificate.private_key.filename == "/k"
    assert authorities.validation_context.trusted_ca.filename == "/ca"
    held: translate.HeldSecrets = {("certificate", "payments"): (b"chain", b"key"), ("ca", "authorities"): (b"ca",)}
    certificate, authorities = translate.secrets(upstream(HELD), held)
    assert (certificate.name, authorities.name) == ("u/certificate", "u/ca")
    assert certificate.tls_certificate.private_key.inline_bytes == b"key"
    assert authorities.validation_context.trusted_ca.inline_bytes == b"ca"
    assert list(translate.secrets(upstream(HELD), {})) == []


@pytest.mark.parametrize("dialect", [dialect for dialect in Dialect if dialect.is_envoys])
def test_secrets_come_the_way_that_clusters_come(dialect: Dialect) -> None:
    cluster = translate.cluster(upstream(HELD), dialect)
    context = tls_pb2.UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    common = context.common_tls_context
    references = [
        *common.tls_certificate_sds_secret_configs,
        common.combined_validation_context.validation_context_sds_secret_config,
    ]
    assert [reference.name for reference in references] == ["u/certificate", "u/ca"]
    assert {encoded(reference.sds_config) for reference in references} == {encoded(dialect.config_source)}
