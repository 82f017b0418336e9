"""The bootstrap that an Envoy starts with: who it is, and where its control plane is.

A pure function of its options: the same options give the same text. Field names are those of Envoy's
`config.bootstrap.v3.Bootstrap`. `python -m xds_server.bootstrap DIRECTORY` writes the files of `EXAMPLES`.
"""

import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from xds_server import control_plane_tls
from xds_server.config_sources import CONTROL_PLANE_CLUSTER, Protocol, Text, config_source, grpc_source
from xds_server.static_listener import static_listener

_UNLIMITED: Final = 4_294_967_295

DEFAULT_XDS_ADDRESS: Final = "127.0.0.1:18000"
DEFAULT_REST_ADDRESS: Final = "127.0.0.1:18080"


@dataclass(frozen=True)
class Bootstrap:
    """What a bootstrap says. Durations are fixed: see `render`.

    Raises ValueError, naming the option as the command line does, for an option that Envoy could not use.
    """

    node_id: str
    """Name of this Envoy, unique among those of one control plane. Envoy: `node.id`."""
    node_cluster: str = "default"
    """The group that this Envoy is one of; definitions choose Envoys by it. Envoy refuses to start xDS without one,
    hence the default. Envoy: `node.cluster`."""
    region: str = ""
    """Envoy: `node.locality.region`. Default: none."""
    zone: str = ""
    """Envoy: `node.locality.zone`. Default: none."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Labels that definitions choose Envoys by. Always text. Envoy: `node.metadata`."""
    xds_address: str | None = None
    """The control plane's `HOST:PORT`; an IPv6 address in brackets. A host name is resolved again and again by Envoy.
    Default: 127.0.0.1:18000, and 127.0.0.1:18080 (the control plane's HTTP port) for `rest`."""
    protocol: Protocol = "delta"
    """`delta` and `sotw`: one aggregated gRPC stream. `per-type`: delta gRPC streams for clusters, for listeners, for each
    cluster's endpoints and for each listener's routes. `rest`: polling of the same over HTTP/1.1, every 5 s to 10 s."""
    static_listener: int | None = None
    """TCP port (0 to 65535; 0: any free one) of a listener of its own that routes by `:authority`. Default: none, the
    listeners come from the control plane."""
    local_cluster: str | None = None
    """Name of the upstream whose targets are this Envoy and the others like it, with their localities: what zone-aware
    balancing compares with. Its endpoints must come by its name: without `resolve: envoy`, and without probe settings of single
    targets. Where they do not come, Envoy starts 15 s late. Default: none. Envoy: `cluster_manager.local_cluster_name`."""
    static_listener_address: str = "0.0.0.0"
    """IP address of the static listener. Default: every IPv4 address."""
    admin_address: str = "127.0.0.1:9901"
    """`ADDRESS:PORT` of Envoy's admin interface, which has no authentication. Port 0: any free one."""
    ca_file: str | None = None
    """CAs that the control plane's certificate is verified with, which must name the host of `xds_address`. Default:
    plain text. Files are read by Envoy, on its machine, and once, unless there is `sds_dir`."""
    cert_file: str | None = None
    """This Envoy's certificate chain, for mutual TLS. Needs `key_file` and `ca_file`."""
    key_file: str | None = None
    """This Envoy's private key."""
    sds_dir: str | None = None
    """Directory on Envoy's machine for the files of `render_sds`, by which it reads the others again when they are replaced by
    renaming; new connections then use them. Default: none, and new certificates need a restart of this Envoy."""

    def __post_init__(self) -> None:
        if not self.node_id:
            raise ValueError("--node-id is empty: give this Envoy a name that no other Envoy has")
        if not self.node_cluster:
            raise ValueError("--node-cluster is empty: Envoy needs one, leave the option out for 'default'")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("--cert and --key go together: give both or neither")
        if self.cert_file is not None and self.ca_file is None:
            raise ValueError("--cert and --key need --ca: Envoy must verify the control plane that it identifies to")
        if self.sds_dir is not None and self.ca_file is None:
            raise ValueError("--sds-dir needs --ca: without it there is no certificate that Envoy could read again")
        if self.static_listener is not None:
            _port("--static-listener", str(self.static_listener))
            _ip("the static listener's address", self.static_listener_address)
        if self.local_cluster is not None:
            _local_cluster(self.local_cluster, self.zone)
        if _split("--xds-address", self.control_plane)[1] == 0:
            raise ValueError("--xds-address: nothing listens on port 0: use the port that `serve --xds-address` has")
        _ip("the admin address", _split("the admin address", self.admin_address)[0])

    @property
    def control_plane(self) -> str:
        """`xds_address`, or the protocol's default."""
        return self.xds_address or (DEFAULT_REST_ADDRESS if self.protocol == "rest" else DEFAULT_XDS_ADDRESS)


def render(options: Bootstrap) -> str:
    """The bootstrap as YAML, ready for `envoy -c`.

    The connection to the control plane is checked every 30 s (HTTP/2 PING, 10 s to answer); a lost one is tried again
    after a random time below a limit that grows from 0.25 s to 5 s.
    """
    sections: list[tuple[str, str, Any]] = [
        ("Who this Envoy is. Definitions choose their Envoys by these.", "node", _node(options)),
        (
            "No authentication: keep it on the loopback interface.",
            "admin",
            {"address": _socket(*_split("the admin address", options.admin_address))},
        ),
        *_cluster_manager(options),
        ("What comes from the control plane, and how.", "dynamic_resources", _dynamic_resources(options)),
        (
            "The connection to the control plane."
            if options.static_listener is None
            else "A listener that routes by the request's host (an upstream's name), and the connection to the\n"
            "control plane, which the listener must never lead to: it answers that name itself.",
            "static_resources",
            _static_resources(options),
        ),
    ]
    return "\n".join(_section(*section) for section in sections)


def render_sds(options: Bootstrap) -> dict[str, str]:
    """What must be in `sds_dir` before Envoy starts: texts by file name. Each file names others, which Envoy watches."""
    if options.sds_dir is None:
        return {}
    return {
        file: _dump({"resources": [secret]}) for file, secret in control_plane_tls.secrets(_tls_files(options)).items()
    }


def _node(options: Bootstrap) -> dict[str, Any]:
    node: dict[str, Any] = {"id": Text(options.node_id), "cluster": Text(options.node_cluster)}
    locality = {"region": options.region, "zone": options.zone}
    if any(locality.values()):
        node["locality"] = {key: Text(value) for key, value in locality.items() if value}
    if options.metadata:
        node["metadata"] = {Text(key): Text(value) for key, value in sorted(options.metadata.items())}
    return node


def _cluster_manager(options: Bootstrap) -> list[tuple[str, str, Any]]:
    if options.local_cluster is None:
        return []
    comment = "The Envoys like this one, by zone: zone-aware balancing compares with them."
    return [(comment, "cluster_manager", {"local_cluster_name": Text(options.local_cluster)})]


def _dynamic_resources(options: Bootstrap) -> dict[str, Any]:
    types = ["lds_config", "cds_config"] if options.static_listener is None else ["cds_config"]
    sources: dict[str, Any] = {key: config_source(options.protocol) for key in types}
    if options.protocol in ("delta", "sotw"):
        sources = {"ads_config": grpc_source("DELTA_GRPC" if options.protocol == "delta" else "GRPC"), **sources}
    return sources


def _static_resources(options: Bootstrap) -> dict[str, Any]:
    clusters = {"clusters": [_control_plane_cluster(options)]}
    if options.local_cluster is not None:
        # Envoy takes no other than a static one; only its endpoints come from the control plane.
        eds = {"eds_config": config_source(options.protocol)}
        clusters["clusters"].append({"name": Text(options.local_cluster), "type": "EDS", "eds_cluster_config": eds})
    if options.static_listener is None:
        return clusters
    address = _socket(options.static_listener_address, options.static_listener)
    refused = [CONTROL_PLANE_CLUSTER] + ([Text(options.local_cluster)] if options.local_cluster is not None else [])
    return {"listeners": [static_listener(address, refused)], **clusters}


def _control_plane_cluster(options: Bootstrap) -> dict[str, Any]:
    host, port = _split("--xds-address", options.control_plane)
    endpoint = {"endpoint": {"address": _socket(host, port)}}
    # An Envoy that polls for hundreds of clusters is busy with its own requests for longer than 1 s.
    connect_timeout = "5s" if options.protocol == "rest" else "1s"
    cluster: dict[str, Any] = {"name": CONTROL_PLANE_CLUSTER, "connect_timeout": connect_timeout}
    if _is_ip(host):
        cluster["type"] = "STATIC"
    else:
        # Every address of the name is a replica. IPv6 first, which is Envoy's default, fails where only IPv4 is routed.
        cluster |= {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    cluster["load_assignment"] = {
        "cluster_name": CONTROL_PLANE_CLUSTER,
        "endpoints": [{"lb_endpoints": [endpoint]}],
    }
    if options.protocol in ("per-type", "rest"):
        # Each cluster's endpoints come on a stream, or by polls, of their own, and all of them at the start. Envoy's default is
        # 1024 at a time; a cluster beyond these would stay without endpoints.
        limits = {"max_pending_requests": _UNLIMITED, "max_requests": _UNLIMITED}
        cluster["circuit_breakers"] = {"thresholds": [limits]}
    if options.protocol != "rest":
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A stream is silent for as long as nothing changes: only a PING tells that it is dead.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        }
    if options.ca_file is not None:
        alpn = [] if options.protocol == "rest" else ["h2"]
        cluster["transport_socket"] = control_plane_tls.transport_socket(
            _tls_files(options), host, is_ip=_is_ip(host), alpn=alpn
        )
    return cluster


def _tls_files(options: Bootstrap) -> control_plane_tls.Files:
    assert options.ca_file is not None
    return control_plane_tls.Files(options.ca_file, options.cert_file, options.key_file, options.sds_dir)


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": Text(host), "port_value": port}}


def _split(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or set("/ \t\n") & set(host) or (":" in bare and host == bare):
        raise ValueError(f"{option} {text!r} is not HOST:PORT: write 127.0.0.1:18000, [::1]:18000 or name:18000")
    return bare, _port(option, port)


def _port(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise ValueError(f"{option}: {text!r} is not a port: use a number from 0 to 65535")
    return int(text)


def _local_cluster(name: str, zone: str) -> None:
    if not name or name == CONTROL_PLANE_CLUSTER:
        raise ValueError(f"--local-cluster {name!r} is no upstream: name the one whose targets are the Envoys")
    if not zone:
        raise ValueError("--local-cluster needs --zone: without a zone of its own, an Envoy has nothing to keep to")


def _ip(option: str, text: str) -> None:
    if not _is_ip(text):
        raise ValueError(f"{option}: {text!r} is not an IP address, and Envoy listens on addresses only")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def _section(comment: str, name: str, content: dict[str, Any]) -> str:
    return "".join(f"# {line}\n" for line in comment.splitlines()) + _dump({name: content})


def _dump(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


EXAMPLES: Final[Mapping[str, Bootstrap]] = {
    "ads-delta.yaml": Bootstrap(node_id="envoy-1"),
    "ads-sotw.yaml": Bootstrap(node_id="envoy-1", protocol="sotw"),
    "static-listener.yaml": Bootstrap(node_id="envoy-1", static_listener=10000),
}
"""The repository's ready files, by name."""


def write_examples(directory: Path) -> None:
    """Write `EXAMPLES` into `directory`."""
    for name, options in EXAMPLES.items():
        (directory / name).write_text(render(options), encoding="utf-8")


if __name__ == "__main__":
    write_examples(Path(sys.argv[1]))
