"""HTTP/1.1 over TLS: which names it was asked for, and whose certificates it was shown."""

import socket
import ssl
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import golden

CERTIFICATES = golden.CERTIFICATES
MESH = CERTIFICATES / "mesh"
"""Another authority's: `a` (a.internal, spiffe://internal/a), `b` (b.internal, ::1), `client-1` and `client-2`."""


class _QuietServer(ThreadingHTTPServer):
    """Keeps refused handshakes, which some tests are about, off the tests' output."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _QuietServer6(_QuietServer):
    address_family = socket.AF_INET6


class TlsBackend:
    """Answers with the server name that it was asked for and the Host, of this very connection.

    `certificate`: path without suffix, of its chain (`.pem`) and key (`.key`). `clients`: authorities of the certificates
    that it demands. `only`: the one name that it answers to, by server name and by Host; others get 421. With `offers_h2` it
    takes HTTP/2 where that is offered, and as it cannot speak it, does not answer.
    """

    def __init__(
        self,
        certificate: Path = CERTIFICATES / "server",
        *,
        clients: Path | None = None,
        offers_h2: bool = False,
        only: str | None = None,
        oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        host: str = "127.0.0.1",
    ) -> None:
        names: dict[Any, str | None] = {}
        self.shown: Counter[str] = Counter()
        """Requests by the common name of the client's certificate."""
        self.accepted: Counter[str] = Counter()
        """Connections, by the same."""
        self.count = 0
        """Requests that were answered."""
        known: set[Any] = set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.connection.selected_alpn_protocol() == "h2":
                    self.close_connection = True
                    return
                name, wanted = names.get(self.connection), self.headers["host"]
                backend.count += 1
                client = _common_name(self.connection.getpeercert())
                backend.shown[client] += 1
                if self.connection not in known:
                    known.add(self.connection)
                    backend.accepted[client] += 1
                body = f"{name} {wanted}".encode()
                self.send_response(200 if only is None or {name, wanted} == {only} else 421)
                self.send_header("x-backend", certificate.name)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Not on the tests' output."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.with_suffix(".pem"), certificate.with_suffix(".key"))
        context.minimum_version, context.maximum_version = oldest, newest
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        if offers_h2:
            context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda connection, name, _: names.__setitem__(connection, name)
        self.host = host
        self._server = (_QuietServer6 if ":" in host else _QuietServer)((host, 0), Handler)
        # Handshakes in the connection's own thread: one that is given up must not hold up the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port: int = self._server.server_address[1]

    @property
    def target(self) -> dict[str, Any]:
        """As definitions name it."""
        return {"host": self.host, "port": self.port}

    def __enter__(self) -> "TlsBackend":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _common_name(certificate: Any) -> str:
    subject = [entry for part in (certificate or {}).get("subject", ()) for entry in part]
    return dict(subject).get("commonName", "")
