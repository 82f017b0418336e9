"""What is spoken below HTTP: TLS (`tls.v3.UpstreamTlsContext`) and the PROXY protocol."""

from typing import Any

from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from xds_server.upstreams.model import Tls, Upstream
from xds_server.upstreams.model.scalars import is_address
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.messages import packed
from xds_server.upstreams.translate.secrets import Kind, has_authorities, has_certificate, secret_name

SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""The system's certificate authorities on Envoy's machine, as Debian, Ubuntu, Alpine and Envoy's own images keep them.

Envoy has a field `system_root_certs`, but does not read it: a context with it alone accepts every certificate.
"""

_ALPN = {"http1": (), "http2": ("h2",), "auto": ("h2", "http/1.1"), "tcp": ()}
_VERSIONS = {
    "1.2": common_pb2.TlsParameters.TlsProtocol.TLSv1_2,
    "1.3": common_pb2.TlsParameters.TlsProtocol.TLSv1_3,
}


def transport_socket(upstream: Upstream, dialect: Dialect) -> Any:
    """`Cluster.transport_socket`, or None for plain TCP. `dialect`: how the Envoys ask that it is for."""
    socket = None if upstream.tls is None else _tls(upstream, upstream.tls, dialect)
    if upstream.proxy_protocol is None:
        return socket
    versions = proxy_protocol_pb2.ProxyProtocolConfig.Version
    outer = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(
        config=proxy_protocol_pb2.ProxyProtocolConfig(version=versions.Value(upstream.proxy_protocol.upper())),
        transport_socket=socket or _socket("raw_buffer", raw_buffer_pb2.RawBuffer()),
    )
    return _socket("upstream_proxy_protocol", outer)


def _tls(upstream: Upstream, tls: Tls, dialect: Dialect) -> Any:
    context = tls_pb2.UpstreamTlsContext(sni=tls.sni or "", auto_host_sni=tls.sni is None)
    common = context.common_tls_context
    common.alpn_protocols.extend(_ALPN[upstream.protocol])
    if tls.min_version != "1.2":
        common.tls_params.tls_minimum_protocol_version = _VERSIONS[tls.min_version]
    # Left to itself, Envoy offers its targets nothing newer than 1.2.
    common.tls_params.tls_maximum_protocol_version = _VERSIONS["1.3"]
    if has_certificate(tls):
        common.tls_certificate_sds_secret_configs.append(_reference(upstream, "certificate", dialect))
    if not tls.verify:
        return _socket("tls", context)
    validation = common_pb2.CertificateValidationContext(match_typed_subject_alt_names=_alt_names(tls))
    # A certificate of a trusted authority is not enough: it must be for the name that was asked for.
    context.auto_sni_san_validation = tls.sni is None and not tls.subject_alt_names
    if has_authorities(tls):
        common.combined_validation_context.default_validation_context.CopyFrom(validation)
        reference = _reference(upstream, "ca", dialect)
        common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(reference)
    else:
        validation.trusted_ca.filename = SYSTEM_CA_FILE
        common.validation_context.CopyFrom(validation)
    return _socket("tls", context)


def _alt_names(tls: Tls) -> list[Any]:
    """What the certificate must carry one of; nothing where Envoy itself compares it with the name that it asks for."""
    names = tls.subject_alt_names or ((tls.sni,) if tls.sni is not None else ())
    return [_alt_name(name) for name in names]


def _alt_name(name: str) -> Any:
    kinds = common_pb2.SubjectAltNameMatcher.SanType
    kind = kinds.URI if "://" in name else kinds.IP_ADDRESS if is_address(name) else kinds.DNS
    entry = common_pb2.SubjectAltNameMatcher(san_type=kind)
    if name.startswith("*."):
        entry.matcher.suffix = name[1:]
    else:
        entry.matcher.exact = name
    return entry


def _reference(upstream: Upstream, kind: Kind, dialect: Dialect) -> Any:
    return secret_pb2.SdsSecretConfig(name=secret_name(upstream, kind), sds_config=dialect.config_source)


def _socket(name: str, message: Any) -> Any:
    return base_pb2.TransportSocket(name=f"envoy.transport_sockets.{name}", typed_config=packed(message))
