"""How an Envoy verifies its control plane and shows who it is itself: part of its bootstrap.

Envoy reads files that a bootstrap names once. Files that a Secret names it watches, and a Secret may come from a file as
well: SDS by `path_config_source`.
"""

from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from xds_server.config_sources import CONTROL_PLANE_CLUSTER, Text

_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_CA: Final = "control-plane-ca"
_CERTIFICATE: Final = "client-certificate"


class Files(NamedTuple):
    """Paths on Envoy's machine."""

    ca: str
    cert: str | None
    key: str | None
    sds_dir: str | None
    """Of the files of `secrets`; None: the bootstrap itself names the others."""


def transport_socket(files: Files, host: str, *, is_ip: bool, alpn: list[str]) -> dict[str, Any]:
    """The socket of the cluster that leads to `host`, which the control plane's certificate must name."""
    san = {"san_type": "IP_ADDRESS" if is_ip else "DNS", "matcher": {"exact": Text(host)}}
    validation: dict[str, Any] = {"match_typed_subject_alt_names": [san]}
    common: dict[str, Any]
    if files.sds_dir is not None:
        combined = {"default_validation_context": validation, "validation_context_sds_secret_config": _sds(files, _CA)}
        common = {"combined_validation_context": combined}
    else:
        common = {"validation_context": _authorities(files) | validation}
    if alpn:
        common["alpn_protocols"] = alpn
    if files.cert is not None:
        if files.sds_dir is not None:
            common["tls_certificate_sds_secret_configs"] = [_sds(files, _CERTIFICATE)]
        else:
            common["tls_certificates"] = [_certificate(files)]
    context: dict[str, Any] = {"@type": f"{_TYPE}UpstreamTlsContext", "common_tls_context": common}
    if not is_ip:
        context["sni"] = Text(host)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def secrets(files: Files) -> dict[str, dict[str, Any]]:
    """The Secrets by file name, one in each, as Envoy takes them."""
    found = {_CA: {"validation_context": _authorities(files)}}
    if files.cert is not None:
        found[_CERTIFICATE] = {"tls_certificate": _certificate(files)}
    return {f"{name}.yaml": {"@type": f"{_TYPE}Secret", "name": _name(name)} | kind for name, kind in found.items()}


def _authorities(files: Files) -> dict[str, Any]:
    return {"trusted_ca": {"filename": Text(files.ca)}}


def _certificate(files: Files) -> dict[str, Any]:
    assert files.cert is not None
    assert files.key is not None
    return {"certificate_chain": {"filename": Text(files.cert)}, "private_key": {"filename": Text(files.key)}}


def _sds(files: Files, name: str) -> dict[str, Any]:
    assert files.sds_dir is not None
    path = Text(PurePosixPath(files.sds_dir) / f"{name}.yaml")
    return {
        "name": _name(name),
        "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
    }


def _name(name: str) -> str:
    return f"{CONTROL_PLANE_CLUSTER}/{name}"
