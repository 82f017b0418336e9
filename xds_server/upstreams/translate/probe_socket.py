"""Probes that do not go over what the traffic goes over: `Cluster.transport_socket_matches`.

Of these, Envoy takes for probes the one that `HealthCheck.transport_socket_match_criteria` asks for. Targets carry no such
mark, so that their traffic goes over `Cluster.transport_socket`.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from google.protobuf import struct_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.messages import packed
from xds_server.upstreams.translate.transport_socket import transport_socket

PROBE_SOCKET = struct_pb2.Struct(fields={"xds-server.probes": struct_pb2.Value(bool_value=True)})
"""What the probes ask for."""


def probe_socket(upstream: Upstream) -> Any:
    """The `Cluster.TransportSocketMatch` of the probes, or None where they go over what the traffic goes over."""
    active = upstream.health_checks.active
    if active is None:
        return None
    if active.tls is not None:
        return _match(transport_socket(upstream, active.tls))
    if active.plaintext and upstream.tls is not None:
        raw = packed(raw_buffer_pb2.RawBuffer())
        return _match(base_pb2.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=raw))
    return None


def _match(socket: Any) -> Any:
    return cluster_pb2.Cluster.TransportSocketMatch(name="probes", match=PROBE_SOCKET, transport_socket=socket)
