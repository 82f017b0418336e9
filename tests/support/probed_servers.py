"""Servers that are no HTTP backends, to be probed and to be sent requests to: gRPC health, a line protocol, a hang-up."""

import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc


class GrpcHealth:
    """grpc.health.v1.Health/Check, which says SERVING or NOT_SERVING."""

    def __init__(self, serving: bool) -> None:
        self.asked: set[tuple[bytes, str, str]] = set()
        """Service, authority and x-probe of each call."""
        answer = b"\x08\x01" if serving else b"\x08\x02"

        def check(request: bytes, context: Any) -> bytes:
            authority = context._rpc_event.call_details.host.decode()  # which has no other way out of the library
            self.asked.add((request[2:], authority, dict(context.invocation_metadata()).get("x-probe", "")))
            return answer

        handler = grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
        )
        self._server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(0).wait()


class _TcpServer:
    """Runs a handler in a thread for each connection."""

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        self._server = _Quiet(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Quiet(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that Envoy resets are not for the tests' output."""


class Redis(_TcpServer):
    """Greets, and answers PING as Redis does; anything else with silence."""

    def __init__(self) -> None:
        self.received: set[bytes] = set()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"ready\r\n")
                while line := self.rfile.readline():
                    outer.received.add(line)
                    if line == b"PING\r\n":
                        self.wfile.write(b"+PONG\r\n")

        super().__init__(Handler)


class Hangup(_TcpServer):
    """Takes a request and closes the connection."""

    def __init__(self) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)

        super().__init__(Handler)
