"""Certificates: `tls.v3.Secret`, by which Envoy takes new ones without rebuilding the cluster (SDS).

An upstream has Secrets of its own, named after it, wherever their content comes from: they go to those Envoys that
receive the upstream and to no other, and what is edited or replaced changes them alone, not the Cluster that names them.
No name of an upstream holds a slash, so no two Secrets have one name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2

from xds_server.upstreams.model import Tls, Upstream

Kind = Literal["certificate", "ca"]
HeldSecrets = Mapping[tuple[Kind, str], Sequence[bytes]]
"""What the control plane keeps, by kind and name: chain and key of a certificate, or the authorities alone."""


def secret_name(upstream: Upstream, kind: Kind) -> str:
    """The name of one of the upstream's Secrets."""
    return f"{upstream.name}/{kind}"


def has_certificate(tls: Tls) -> bool:
    """Whether a client certificate is shown."""
    return tls.certificate is not None or tls.cert_file is not None


def has_authorities(tls: Tls) -> bool:
    """Whether the targets' certificates are verified by authorities of the upstream's own."""
    return tls.ca is not None or tls.ca_file is not None


def held_secrets(upstream: Upstream) -> Iterator[tuple[Kind, str]]:
    """Those that the control plane keeps for the upstream, by kind (which is the field of `tls`) and name."""
    if upstream.tls is not None and upstream.tls.certificate is not None:
        yield "certificate", upstream.tls.certificate
    if upstream.tls is not None and upstream.tls.ca is not None:
        yield "ca", upstream.tls.ca


def secrets(upstream: Upstream, held: HeldSecrets) -> Iterator[Any]:
    """The upstream's Secrets. One whose content the control plane keeps, but is not in `held`, is left out."""
    tls = upstream.tls
    if tls is None:
        return
    if tls.cert_file is not None and tls.key_file is not None:
        yield _certificate(upstream, _on_envoy(tls.cert_file), _on_envoy(tls.key_file))
    elif tls.certificate is not None and (files := held.get(("certificate", tls.certificate))) is not None:
        chain, key = files
        yield _certificate(upstream, _inline(chain), _inline(key))
    if tls.ca_file is not None:
        yield _authorities(upstream, _on_envoy(tls.ca_file))
    elif tls.ca is not None and (files := held.get(("ca", tls.ca))) is not None:
        yield _authorities(upstream, _inline(*files))


def _certificate(upstream: Upstream, chain: Any, key: Any) -> Any:
    certificate = common_pb2.TlsCertificate(certificate_chain=chain, private_key=key)
    return secret_pb2.Secret(name=secret_name(upstream, "certificate"), tls_certificate=certificate)


def _authorities(upstream: Upstream, trusted: Any) -> Any:
    context = common_pb2.CertificateValidationContext(trusted_ca=trusted)
    return secret_pb2.Secret(name=secret_name(upstream, "ca"), validation_context=context)


def _on_envoy(path: str) -> Any:
    # Envoy watches the directory of each file that a Secret names, for files that are renamed into it.
    return base_pb2.DataSource(filename=path)


def _inline(content: bytes) -> Any:
    return base_pb2.DataSource(inline_bytes=content)
