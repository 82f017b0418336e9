"""Clusters for Envoy's validation mode, in which it has no stream that Secrets could come by, and crashes when it needs one."""

from collections.abc import Set
from typing import Any, Final

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from xds_server.upstreams.translate.messages import packed

_WRAPPER: Final = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport
_CONTEXT: Final = tls_pb2.UpstreamTlsContext


def use_static_secrets(cluster: Any, names: Set[str]) -> None:
    """Have `cluster` take the Secrets `names` from the bootstrap, and do without all others, in place."""
    if cluster.HasField("transport_socket"):
        _rewrite(cluster.transport_socket, names)
    for match in cluster.transport_socket_matches:
        _rewrite(match.transport_socket, names)


def _rewrite(socket: Any, names: Set[str]) -> None:
    if socket.typed_config.Is(_WRAPPER.DESCRIPTOR):
        wrapper = _WRAPPER.FromString(socket.typed_config.value)
        _rewrite(wrapper.transport_socket, names)
        socket.typed_config.CopyFrom(packed(wrapper))
    elif socket.typed_config.Is(_CONTEXT.DESCRIPTOR):
        context = _CONTEXT.FromString(socket.typed_config.value)
        _use(context, names)
        socket.typed_config.CopyFrom(packed(context))


def _use(context: Any, names: Set[str]) -> None:
    common = context.common_tls_context
    known = [each for each in common.tls_certificate_sds_secret_configs if each.name in names]
    del common.tls_certificate_sds_secret_configs[:]
    for each in known:
        common.tls_certificate_sds_secret_configs.add(name=each.name)
    if not common.HasField("combined_validation_context"):
        return
    reference = common.combined_validation_context.validation_context_sds_secret_config
    if reference.name in names:
        reference.ClearField("sds_config")
    else:  # names are not compared without authorities to believe
        common.ClearField("combined_validation_context")
        context.auto_sni_san_validation = False
