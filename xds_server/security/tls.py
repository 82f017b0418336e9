"""TLS of every port: the server's certificate, and the authorities of its clients', kept up to date with their files.

New connections get what the files hold now; those that are open go on. Files that cannot be used change nothing. TLS 1.2 is the
oldest version spoken (gRPC has no other choice; for HTTP it is set here).
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import structlog

from xds_server.pem_files import PemError, read_authorities, read_file, read_pair

POLL: Final = 1.0
"""Seconds between two looks at the files. They are not watched: mounted secrets often are on file systems without events."""

log = structlog.get_logger("tls")


@dataclass(frozen=True, slots=True)
class _Held:
    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext = field(compare=False)


class Certificates:
    """The certificate that the server shows, and whose clients' certificates it believes."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        """Reads the files. Raises PemError."""
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._held = self._read()
        self._problem = self._told = ""

    def grpc_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """For one gRPC port. `require_client`: whether clients must show a certificate of `client_ca`.

        gRPC for Python cannot ask for a certificate without insisting on one: else none is asked for.
        """
        given = self._held

        def fetch() -> Any:
            # Called for each new connection, one at a time, by gRPC's threads. None: what was given last still holds.
            nonlocal given
            if given is self._held:
                return None
            given = self._held
            return _configuration(given, require_client)

        return grpc.dynamic_ssl_server_credentials(_configuration(given, require_client), fetch, require_client)

    @property
    def newest(self) -> ssl.SSLContext:
        """What a connection that is made now is made from."""
        return self._held.context

    def ssl_context(self) -> ssl.SSLContext:
        """For any number of HTTP ports. Clients may show a certificate of `client_ca`, and need not."""
        return _Newest(self)

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take in what the files hold now, if it is sound; otherwise say so, once."""
        try:
            if self._is_held() and not self._problem:
                return
            found = self._read()
        except PemError as error:
            # Files are replaced one after the other: what is wrong for a moment is not worth a word.
            if self._problem == str(error) != self._told:
                self._told = self._problem
                log.error("tls.broken", problem=self._problem, last_good_serves=True)
            self._problem = str(error)
            return
        if found != self._held:
            self._held = found
            log.info("tls.reloaded", cert=str(self._cert))
        elif self._told:
            log.info("tls.mended", cert=str(self._cert))
        self._problem = self._told = ""

    def _is_held(self) -> bool:
        ca = read_file(self._client_ca) if self._client_ca is not None else None
        return (read_file(self._cert), read_file(self._key), ca) == (
            self._held.chain,
            self._held.key,
            self._held.client_ca,
        )

    def _read(self) -> _Held:
        context = _context()
        chain, key = read_pair(self._cert, self._key, context)
        client_ca = None
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_OPTIONAL
            client_ca = read_authorities(self._client_ca, context)
        return _Held(chain, key, client_ca, context)


class _Newest(ssl.SSLContext):
    """Makes each connection from the context that is the newest then.

    Loading new files into one context would not do: it forgets no authority, and no session that a client could go on with.
    """

    def __new__(cls, _: Certificates) -> "_Newest":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._certificates.newest.wrap_bio(*args, **options)


def certificate_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """DNS names and URIs of a client's certificate, as `ssl.SSLSocket.getpeercert` gives it; None where none was shown."""
    if not certificate:
        return None
    return tuple(name for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI"))


def _configuration(held: _Held, require_client: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(held.key, held.chain)], held.client_ca if require_client else None
    )


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # As gRPC does: an authority in the file is believed, also one that another one signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
