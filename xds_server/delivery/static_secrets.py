"""Clusters for Envoy's validation mode, in which it has no stream that Secrets could come by, and crashes when it needs one.

Files of certificates are on the machines of the Envoys that they are for, and need not be on this one.
"""

from collections.abc import Callable, Set
from typing import Any, Final

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from xds_server.upstreams.translate.messages import packed

_WRAPPER: Final = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport
_CONTEXT: Final = tls_pb2.UpstreamTlsContext
_WITH_FILES: Final = ("TlsCertificate", "CertificateValidationContext")
HasFile = Callable[[str], bool]


def use_static_secrets(cluster: Any, names: Set[str], has_file: HasFile) -> None:
    """Have `cluster` take the Secrets `names` from the bootstrap, and do without all others, in place.

    `has_file`: which files of certificates are to be read; it does without the others as well.
    """
    if cluster.HasField("transport_socket"):
        _rewrite(cluster.transport_socket, names, has_file)
    for match in cluster.transport_socket_matches:
        _rewrite(match.transport_socket, names, has_file)


def _rewrite(socket: Any, names: Set[str], has_file: HasFile) -> None:
    if socket.typed_config.Is(_WRAPPER.DESCRIPTOR):
        wrapper = _WRAPPER.FromString(socket.typed_config.value)
        _rewrite(wrapper.transport_socket, names, has_file)
        socket.typed_config.CopyFrom(packed(wrapper))
    elif socket.typed_config.Is(_CONTEXT.DESCRIPTOR):
        context = _CONTEXT.FromString(socket.typed_config.value)
        _use(context, names)
        _forget_files(context, has_file)
        socket.typed_config.CopyFrom(packed(context))


def needs_missing_file(message: Any, has_file: HasFile) -> bool:
    """Whether a certificate, or what one is verified by, is in a file that is not there."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.name == "DataSource":
            if value.filename and not has_file(value.filename):
                return True
        elif (
            field.message_type is not None
            and field.message_type.name in _WITH_FILES
            and needs_missing_file(value, has_file)
        ):
            return True
    return False


def _forget_files(context: Any, has_file: HasFile) -> None:
    common = context.common_tls_context
    kept = [each for each in common.tls_certificates if not needs_missing_file(each, has_file)]
    del common.tls_certificates[:]
    common.tls_certificates.extend(kept)
    if common.HasField("validation_context") and needs_missing_file(common.validation_context, has_file):
        common.ClearField("validation_context")
        context.auto_sni_san_validation = False  # as below


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
