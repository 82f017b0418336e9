"""TLS to the targets: `tls.v3.UpstreamTlsContext`."""

from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from xds_server.upstreams.model import Tls, Upstream
from xds_server.upstreams.model.scalars import is_address
from xds_server.upstreams.translate.messages import packed

SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""The system's certificate authorities on Envoy's machine, as Debian, Ubuntu, Alpine and Envoy's own images keep them.

Envoy has a field `system_root_certs`, but does not read it: a context with it alone accepts every certificate.
"""

_ALPN = {"http1": (), "http2": ("h2",), "auto": ("h2", "http/1.1"), "tcp": ()}


def transport_socket(upstream: Upstream, tls: Tls) -> Any:
    """`Cluster.transport_socket`."""
    context = tls_pb2.UpstreamTlsContext(sni=tls.sni or "", auto_host_sni=tls.sni is None)
    common = context.common_tls_context
    common.alpn_protocols.extend(_ALPN[upstream.protocol])
    if tls.cert_file and tls.key_file:
        common.tls_certificates.add(
            certificate_chain=base_pb2.DataSource(filename=tls.cert_file),
            private_key=base_pb2.DataSource(filename=tls.key_file),
        )
    if tls.verify:
        validation = common.validation_context
        validation.trusted_ca.filename = tls.ca_file or SYSTEM_CA_FILE
        # A certificate of a trusted authority is not enough: it must be for the name that was asked for.
        if tls.sni is None:
            context.auto_sni_san_validation = True
        else:
            kinds = common_pb2.SubjectAltNameMatcher.SanType
            kind = kinds.IP_ADDRESS if is_address(tls.sni) else kinds.DNS
            validation.match_typed_subject_alt_names.add(san_type=kind).matcher.exact = tls.sni
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))
