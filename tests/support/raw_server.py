"""A server whose every connection is a function of the test's: for what is spoken below HTTP, or beside it."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

Serve = Callable[[socket.socket], None]


class RawServer:
    """Calls `serve` with each connection, in a thread of its own, and closes it afterwards."""

    def __init__(self, serve: Serve, *, host: str = "127.0.0.1") -> None:
        self._serve = serve
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

    @property
    def target(self) -> dict[str, object]:
        """As definitions name it."""
        return {"host": self.host, "port": self.port}

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        # A peer that goes away costs it this connection and nothing else.
        try:
            with contextlib.suppress(OSError, EOFError), connection:
                self._serve(connection)
        finally:
            self._open.discard(connection)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """All bytes up to `end`, and none after. Raises EOFError."""
    received = bytearray()
    while not received.endswith(end):
        received += read_exactly(connection, 1)
    return bytes(received)


def read_exactly(connection: socket.socket, n: int) -> bytes:
    """Raises EOFError when the other side ends before."""
    received = bytearray()
    while len(received) < n:
        some = connection.recv(n - len(received))
        if not some:
            raise EOFError
        received += some
    return bytes(received)


def read_all(connection: socket.socket) -> bytes:
    """Until the other side ends."""
    received = bytearray()
    while some := connection.recv(1 << 16):
        received += some
    return bytes(received)


def echo(connection: socket.socket) -> None:
    """Send back what comes, as it comes."""
    while some := connection.recv(1 << 16):
        connection.sendall(some)


def connect(port: int, *, source: str = "127.0.0.1", address: str = "127.0.0.1") -> socket.socket:
    """A connection to a listener of Envoy's."""
    if ":" in address:
        return socket.create_connection((address, port), timeout=20)
    return socket.create_connection((address, port), timeout=20, source_address=(source, 0))
