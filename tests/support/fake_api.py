"""A server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PROBLEM = "application/problem+json"


class Asked(NamedTuple):
    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class FakeApi:
    """`answers`: by the path without its query; a value for JSON, or (status, text) for anything else."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[Asked] = []
        self.address = ""
        self.date = ""
        """Its clock, as it says in its answers; empty: this machine's."""

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        self.asked.append(asked)
        found = self.answers.get(asked.path.partition("?")[0], (404, '{"detail": "Not Found"}'))
        if isinstance(found, tuple):
            return int(found[0]), str(found[1]).encode()
        return 200, json.dumps(found).encode()


@contextmanager
def fake_api(answers: dict[str, Any], context: ssl.SSLContext | None = None) -> Iterator[FakeApi]:
    """Serve on a free port of loopback; with TLS when there is a `context`."""
    fake = FakeApi(answers)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = fake.answer(Asked(self.command, self.path, headers, body))
            self.send_response_only(status)
            self.send_header("Date", fake.date or self.date_time_string())
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    for method in ("GET", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are what tests are about."""

        def finish_request(self, request: Any, address: Any) -> None:
            if context is not None:
                request = context.wrap_socket(request, server_side=True)
            super().finish_request(request, address)

    with Server(("127.0.0.1", 0), Handler) as server:
        fake.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
