"""Every option of the server once: its default, its environment variable (`XDS_SERVER_…`) and its help."""

import ipaddress
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from xds_server.security.node_names import DEFAULT as NODE_NAMES
from xds_server.security.node_names import check as check_node_name
from xds_server.security.roles import Role
from xds_server.upstreams.model.scalars import Duration


def _address(value: str) -> str:
    from xds_server.xds.arguments import split_address  # late: with it comes gRPC, which `--help` need not pay for

    split_address(value)
    return value


def name_server(value: str) -> str:
    """A name server's address, checked. Raises ValueError."""
    host, port = value, "53"
    if value.startswith("[") or value.count(":") == 1:
        host, _, port = value.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        host = ""
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError(f"{value!r} is not a name server: write 10.0.0.2, 10.0.0.2:5353 or [fd00::2]:53")
    return value


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _role_of(value: str) -> tuple[str, Role]:
    name, _, role = value.rpartition("=")
    if not name or role not in tuple(Role):
        raise ValueError(f"{value!r} is not NAME=ROLE, where the role is {', '.join(Role)}: write ci.internal=write")
    return name, Role(role)


def host_name(value: str) -> str:
    """A name or address without a port, in lower case. Raises ValueError."""
    host = value.strip("[]").lower()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not host or set(host) & set(":/*[]@ "):
            raise ValueError(
                f"{value!r} is not the name of a host: write it without scheme, port and wildcards"
            ) from None
    return host


ListenAddress = Annotated[str, AfterValidator(_address)]
NodeName = Annotated[str, AfterValidator(check_node_name)]
NameServer = Annotated[str, AfterValidator(name_server)]
HostName = Annotated[str, AfterValidator(host_name)]


class Settings(BaseSettings):
    """Options of `xds-server serve`. A flag wins over the environment, which wins over the default."""

    model_config = SettingsConfigDict(env_prefix="XDS_SERVER_", use_attribute_docstrings=True, extra="ignore")

    definitions: Annotated[tuple[Path, ...], NoDecode] = Field(default=())
    """Definition file, or directory of them; repeatable, watched. In the environment: several are separated by colons."""
    store: str = "sqlite:///xds-server.db"
    """Where revisions are kept: sqlite:///FILE (sqlite:////FILE for an absolute path) or postgresql://USER@HOST/DATABASE."""
    max_removal: Annotated[float, Field(ge=0, le=100)] = 50
    """Percent of all targets, or upstreams, above which a change that removes them (more than 10) waits for `xds-server
    confirm`. 100: no change waits."""
    keep_revisions: Annotated[int, Field(ge=1)] = 10_000
    """How many revisions can be gone back to."""
    keep_days: Annotated[int, Field(ge=0)] = 90
    """Days after which a revision is forgotten all the same. 0: never."""
    secrets_dir: Path | None = None
    """Directory of the certificates that definitions name: NAME/tls.crt, NAME/tls.key, NAME/ca.crt. Looked at every second."""
    xds_address: ListenAddress = "127.0.0.1:18000"
    """Where Envoys connect: host:port; port 0 takes any free one."""
    http_address: ListenAddress = "127.0.0.1:18080"
    """Where the API, REST pollers and health checks connect: host:port; port 0 takes any free one."""
    grpc_address: ListenAddress = "127.0.0.1:18081"
    """Where the API over gRPC is: host:port; port 0 takes any free one."""
    tls_cert: Path | None = None
    """File of the certificate (PEM, with its chain) that every port shows; it is read again when it is replaced."""
    tls_key: Path | None = None
    """File of its key. All ports then speak TLS alone."""
    tls_client_ca: Path | None = None
    """File of the authorities (PEM) whose certificates clients show: on the xDS port they must, on the HTTP port they may."""
    node_names: Annotated[tuple[NodeName, ...], NoDecode] = NODE_NAMES
    """What one name in a node's certificate must be, with {id} and {cluster} as the node says them; separated by commas."""
    client_roles: Annotated[Mapping[str, Role], NoDecode] = {}
    """Roles on the management API of client certificates: NAME=read, operate, write or admin; separated by commas."""
    insecure: bool = False
    """Listen on addresses that other machines reach without TLS, certificates and tokens: for networks that are trusted."""
    allowed_hosts: Annotated[tuple[HostName, ...], NoDecode] = ()
    """Names, besides localhost, by which requests without a token are sent to the API; separated by commas. Default: none, and
    with --insecure any, also one that a web page had resolved to here."""
    dns_servers: Annotated[tuple[NameServer, ...], NoDecode] = ()
    """Name servers that are asked instead of this machine's: addresses with or without a port, separated by commas."""
    identifier: str = Field(default_factory=socket.gethostname)
    """Name of this server, which Envoy shows as the stat control_plane.identifier. Default: the host's name."""
    max_connection_age: Duration = timedelta(minutes=30)
    """When a connection is told to come back, so that replicas share the load; 10 % more or less. 0s: never."""
    max_new_streams: Annotated[float, Field(ge=0)] = 1000
    """Streams let in per second, after twice as many at once; others wait up to 10 s. 0: no limit. Of several workers each lets
    in its part."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve the xDS port together (Linux): for more Envoys than one processor can serve. 1: this one alone."""
    drain_time: Duration = timedelta(seconds=5)
    """Time over which streams end on SIGTERM, when there are many, so that Envoys do not all return at once."""
    log_format: Literal["text", "json"] = "text"
    """text for people, json for machines: one line per event, on stderr."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious events that are logged."""

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str) and not (value := _parts(value)):
            raise ValueError("it names no host: name one, or leave it out")  # for none means any, with --insecure
        return value

    @field_validator("dns_servers", "node_names", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("client_roles", mode="before")
    @classmethod
    def _split_roles(cls, value: Any) -> Any:
        return dict(map(_role_of, _parts(value))) if isinstance(value, str) else value

    @field_validator("definitions", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value
