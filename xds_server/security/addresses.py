"""Where the server listens, and whether it may: only this machine reaches a loopback address."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol


class Options(Protocol):
    """What of the server's options decides; named as on the command line."""

    @property
    def xds_address(self) -> str: ...
    @property
    def tls_cert(self) -> Path | None: ...
    @property
    def tls_key(self) -> Path | None: ...
    @property
    def tls_client_ca(self) -> Path | None: ...
    @property
    def client_roles(self) -> Mapping[str, object]: ...
    @property
    def insecure(self) -> bool: ...


def is_loopback(address: str) -> bool:
    """Whether ``host``, ``host:port`` or ``[host]:port`` is reached from this machine alone.

    Names other than localhost are not: what they point to may change.
    """
    host = address
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        host = address.partition(":")[0]
    if host.lower() == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def refusal(options: Options, management: Mapping[str, str], *, tokens: bool) -> str | None:
    """Why the server must not start with these options; None when it may.

    `management`: addresses of the management ports, by option (``--http-address``). `tokens`: whether any exists.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        return "--tls-cert and --tls-key go together: give both or neither"
    tls = options.tls_cert is not None
    if options.tls_client_ca is not None and not tls:
        return "--tls-client-ca needs --tls-cert and --tls-key: client certificates are shown over TLS only"
    if options.client_roles and options.tls_client_ca is None:
        return "--client-roles needs --tls-client-ca: without it no client certificate is looked at"
    if options.insecure:
        return None
    if not is_loopback(options.xds_address) and options.tls_client_ca is None:
        given = "" if tls else "--tls-cert, --tls-key and "
        return (
            f"--xds-address {options.xds_address}: other machines reach it, and could be any node: give {given}--tls-client-ca "
            "to see certificates of nodes; or --insecure, where only those reach it that may have everything"
        )
    for option, address in management.items():
        if is_loopback(address):
            continue
        if not tls:
            return (
                f"{option} {address}: other machines reach it, in plain text: give --tls-cert and --tls-key; or --insecure, "
                "where only those reach it that may do everything"
            )
        if not tokens and options.tls_client_ca is None:
            return (
                f"{option} {address}: other machines reach it, and nothing says who may: make a token with `xds-server token "
                "create`, or give --tls-client-ca; or --insecure, where only those reach it that may do everything"
            )
    return None


def open_to(options: Options, address: str) -> Literal["nobody", "local", "anyone"]:
    """Who may use the management port at `address` while no token exists: see `access.Policy`."""
    if is_loopback(address):
        return "local"
    return "anyone" if options.insecure else "nobody"
