"""An HTTP/1.1 server, also over TLS, that keeps every request in full: what probes look like when they arrive."""

import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import golden

CA_FILE = str(golden.CERTIFICATES / "ca.pem")
"""What signed the certificate of a server with `tls`: for payments.internal, *.wild.internal, localhost and 127.0.0.1."""


class Received(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    server_name: str | None
    """That was asked for in the handshake."""


class ReceivingServer:
    """Answers every request with `answer` and `status`, or the next of several statuses: may be changed at any time."""

    def __init__(self, *, tls: bool = False, status: int | Iterator[int] = 200, answer: bytes = b"") -> None:
        self.status, self.answer = status, answer
        self.received: list[Received] = []
        names: dict[Any, str | None] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self._body(headers)
                outer.received.append(Received(self.command, self.path, headers, body, names.get(self.connection)))
                self.send_response(outer.status if isinstance(outer.status, int) else next(outer.status))
                self.send_header("content-length", str(len(outer.answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(outer.answer)

            def _body(self, headers: dict[str, str]) -> bytes:
                if headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *arguments: object) -> None:
                """Not on the tests' output."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(golden.CERTIFICATES / "server.pem", golden.CERTIFICATES / "server.key")
            context.sni_callback = lambda connection, name, _: names.__setitem__(connection, name)
            # Handshakes in the connection's own thread: one that is given up must not hold up the others.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.host, self.port = self._server.server_address[:2]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Refused handshakes, which some tests are about, are not for the tests' output."""
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)
