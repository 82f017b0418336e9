"""Probes that do not go over what the traffic goes over: `Cluster.transport_socket_matches`.

Of these, Envoy takes for probes the one that `HealthCheck.transport_socket_match_criteria` asks for. Targets carry no such
mark, so that their traffic goes over `Cluster.transport_socket`.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from xds_server.upstreams.model import ProbeTls, Upstream
from xds_server.upstreams.model.scalars import is_address
from xds_server.upstreams.translate.messages import packed
from xds_server.upstreams.translate.transport_socket import SYSTEM_CA_FILE

PROBE_SOCKET = struct_pb2.Struct(fields={"xds-server.probes": struct_pb2.Value(bool_value=True)})
"""What the probes ask for."""


def probe_socket(upstream: Upstream) -> Any:
    """The `Cluster.TransportSocketMatch` of the probes, or None where they go over what the traffic goes over."""
    active = upstream.health_checks.active
    if active is None:
        return None
    if active.tls is not None:
        return _match("tls", _context(upstream, active.tls))
    if active.plaintext and upstream.tls is not None:
        return _match("raw_buffer", raw_buffer_pb2.RawBuffer())
    return None


def _match(kind: str, config: Message) -> Any:
    socket = base_pb2.TransportSocket(name=f"envoy.transport_sockets.{kind}", typed_config=packed(config))
    return cluster_pb2.Cluster.TransportSocketMatch(name="probes", match=PROBE_SOCKET, transport_socket=socket)


def _context(upstream: Upstream, tls: ProbeTls) -> Any:
    context = tls_pb2.UpstreamTlsContext(sni=tls.sni or "", auto_host_sni=tls.sni is None)
    common = context.common_tls_context
    # Left to itself, Envoy offers its targets nothing newer than 1.2.
    common.tls_params.tls_maximum_protocol_version = common_pb2.TlsParameters.TlsProtocol.TLSv1_3
    if upstream.protocol == "http2":
        common.alpn_protocols.append("h2")
    if tls.verify:
        validation = common.validation_context
        validation.trusted_ca.filename = tls.ca_file or SYSTEM_CA_FILE
        if tls.sni is None:
            context.auto_sni_san_validation = True
        else:
            kinds = common_pb2.SubjectAltNameMatcher.SanType
            kind = kinds.IP_ADDRESS if is_address(tls.sni) else kinds.DNS
            validation.match_typed_subject_alt_names.add(san_type=kind).matcher.exact = tls.sni
    return context
