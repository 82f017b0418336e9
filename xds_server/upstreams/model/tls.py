"""TLS to the targets, and what contradicts itself in it."""

from collections.abc import Iterator
from typing import Literal

from pydantic import ConfigDict, StrictBool

from xds_server.upstreams.model.base import Definition, Problem
from xds_server.upstreams.model.scalars import AltName, OneLine, SecretName, ServerName
from xds_server.upstreams.model.target import Target

_NEVER_TOGETHER = (("certificate", "cert_file"), ("ca", "ca_file"))


class Tls(Definition):
    """TLS 1.2 or 1.3 to the targets, verified unless told otherwise. Envoy: `tls.v3.UpstreamTlsContext`.

    Certificates come from files on Envoy's machine (`*_file`), or by name from the directory `--secrets-dir` of the control
    plane, which sends them to those Envoys alone that receive the upstream. New ones of either kind are used for new
    connections; no connection is dropped. Files on Envoy's machine are seen when they are replaced by renaming, as
    Kubernetes and most tools do, not when they are written in place. Envoy: SDS.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"cert_file": ["key_file"], "key_file": ["cert_file"]},
            "allOf": [{"not": {"required": [*pair]}} for pair in _NEVER_TOGETHER],
        }
    )

    sni: ServerName | None = None
    """Server name that is asked for and that the certificate must carry. Default: each target's own host name.
    Envoy: `sni` and `match_typed_subject_alt_names`, else `auto_host_sni` and `auto_sni_san_validation`.
    Without it, a static listener sends each target its own name as the Host, whatever `host_header` says."""
    verify: StrictBool = True
    """false: any certificate is accepted. Default: true. Envoy: `validation_context`."""
    ca_file: OneLine | None = None
    """Certificate authorities, a PEM file on Envoy's machine. Default: the system's. Envoy: `trusted_ca`."""
    cert_file: OneLine | None = None
    """Client certificate, a PEM file on Envoy's machine; needs `key_file`. Default: none. Envoy: `tls_certificates`."""
    key_file: OneLine | None = None
    """Key of the client certificate, a PEM file on Envoy's machine. Default: none. Envoy: `tls_certificates`."""
    ca: SecretName | None = None
    """Certificate authorities from the control plane's `--secrets-dir`: the file `NAME/ca.crt` there. Instead of `ca_file`.
    Default: none. Envoy: `trusted_ca`."""
    certificate: SecretName | None = None
    """Client certificate from the control plane's `--secrets-dir`: the files `NAME/tls.crt` and `NAME/tls.key` there.
    Instead of `cert_file` and `key_file`. Default: none. Envoy: `tls_certificates`."""
    subject_alt_names: tuple[AltName, ...] = ()
    """Names of which the certificate must carry one: DNS names, `*.suffix`, IP addresses, or URIs such as spiffe://….
    Default: the server name that is asked for. Envoy: `match_typed_subject_alt_names`."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken. Default: 1.2. Envoy: `tls_minimum_protocol_version`."""


def tls_contradictions(tls: Tls, targets: tuple[Target, ...]) -> Iterator[Problem]:
    """Every pair of fields of `tls` that cannot both be meant."""
    if (tls.cert_file is None) != (tls.key_file is None):
        there, missing = ("cert_file", "key_file") if tls.cert_file else ("key_file", "cert_file")
        yield Problem(("tls", missing), "cert_file and key_file go together", (("tls", there),))
    for name, path in _NEVER_TOGETHER:
        if getattr(tls, name) and getattr(tls, path):
            message = f"{name} is kept by the control plane, {path} by Envoy's machine: give one of them"
            yield Problem(("tls", name), message, (("tls", path),))
    if not tls.verify:
        for field in ("ca_file", "ca", "subject_alt_names"):
            if getattr(tls, field):
                yield Problem(("tls", field), f"{field} has no meaning with verify: false", (("tls", "verify"),))
    unnamed = next((index for index, target in enumerate(targets) if not target.needs_resolving), None)
    if tls.verify and not tls.sni and not tls.subject_alt_names and unnamed is not None:
        message = "a target given by IP address has no name to verify: set sni, subject_alt_names, or verify: false"
        about = (("targets", unnamed, "host"), ("tls", "verify"), ("tls", "subject_alt_names"))
        yield Problem(("tls", "sni"), message, about)
