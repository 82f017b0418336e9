"""Small HTTP backends that count what reaches them."""

import asyncio
import contextlib
import http
from collections.abc import Iterator, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from xds_server.testing.http1 import MAX_HEAD, Head, read_body, read_head
from xds_server.testing.loop import run


class Backend:
    """An HTTP/1.1 server on loopback that answers its own name.

        with Backend("a") as a:
            ...  # a.address is "127.0.0.1:41234"
            assert a.count == 10

    `GET /healthz` is answered by `healthy` (200 or 503) and counted apart, in `probes`.
    `GET /stream?chunks=5&every=0.2` sends that many chunks (default 5), one every so many seconds (default 0.1); with
    `chunks=0` it goes on until `streaming` is False.
    `GET /status/500` is answered with that status. Everything else is answered with `status` after `delay` seconds.
    `healthy`, `status`, `delay` and `streaming` may be changed at any time.
    """

    def __init__(
        self, name: str = "backend", *, host: str = "127.0.0.1", port: int = 0, status: int = 200, delay: float = 0
    ) -> None:
        self.name = name
        self.status = status
        self.delay = delay
        self.healthy = True
        self.streaming = True
        self.host = host
        self.port = port
        """0 until started, unless one was asked for."""
        self.count = 0
        """Requests that have arrived, probes not counted."""
        self.probes = 0
        """Requests to /healthz that have arrived."""
        self.accepted = 0
        """Connections that have been accepted."""
        self.active = 0
        """Requests being answered."""
        self.last_path = ""
        self.last_headers: Mapping[str, str] = {}
        """Header fields of the last request that is no probe, names in lower case."""
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """`HOST:PORT`, as Envoy shows it: an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def target(self, **fields: Any) -> dict[str, Any]:
        """It as a target of a definition, with further fields of that: `a.target(weight=3)`."""
        return {"host": self.host, "port": self.port, **fields}

    @property
    def last_host(self) -> str:
        """The Host of the last request that is no probe."""
        return self.last_headers.get("host", "")

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def reset(self) -> None:
        """Count from 0 again."""
        self.count = self.probes = self.accepted = 0

    def fail(self, status: int = 500) -> None:
        """Answer requests with `status`, and probes with 503, until `recover`."""
        self.status, self.healthy = status, False

    def recover(self) -> None:
        """Answer requests and probes with 200."""
        self.status, self.healthy = 200, True

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken. After `close`, listens on the same port again."""
        run(self._start())

    def close(self) -> None:
        """Stop listening and end every connection, whatever it waits for, as a crash would. Harmless twice."""
        run(self._close())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self.accepted += 1
        try:
            # A peer that goes away, or that does not speak HTTP, costs it this connection and nothing else.
            with contextlib.suppress(ConnectionError, EOFError, asyncio.LimitOverrunError, ValueError):
                while True:
                    head = await read_head(reader)
                    await read_body(reader, head)
                    with self._counted(head):
                        await self._answer(head, writer)
                    if not head.keeps_alive:
                        return
        finally:
            self._connections.discard(writer)
            writer.close()

    @contextlib.contextmanager
    def _counted(self, head: Head) -> Iterator[None]:
        path = head.target
        if path == "/healthz":
            self.probes += 1
            yield
            return
        self.count += 1
        self.last_path, self.last_headers = path, head.headers
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def _answer(self, head: Head, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(head.target)
        if url.path == "/healthz":
            await self._send(writer, 200 if self.healthy else 503)
            return
        if self.delay:
            await asyncio.sleep(self.delay)
        if url.path == "/stream":
            query = parse_qs(url.query)
            await self._stream(writer, int(query.get("chunks", ["5"])[0]), float(query.get("every", ["0.1"])[0]))
        elif url.path.startswith("/status/"):
            await self._send(writer, int(url.path.removeprefix("/status/")))
        else:
            await self._send(writer, self.status)

    async def _send(self, writer: asyncio.StreamWriter, status: int) -> None:
        body = self.name.encode()
        writer.write(self._head(status, f"content-length: {len(body)}") + body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, chunks: int, every: float) -> None:
        writer.write(self._head(self.status, "transfer-encoding: chunked"))
        for number in count():
            if number >= chunks if chunks else not self.streaming:
                break
            text = f"{self.name} {number}\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(text), text))
            await writer.drain()
            await asyncio.sleep(every)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _head(self, status: int, framing: str) -> bytes:
        reason = http.HTTPStatus(status).phrase if status in http.HTTPStatus.__members__.values() else ""
        return f"HTTP/1.1 {status} {reason}\r\nx-backend: {self.name}\r\n{framing}\r\n\r\n".encode("latin-1")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Backends:
    """Several backends, by name: `with Backends("a", "b") as backends: backends["a"].address`."""

    def __init__(self, *names: str, host: str = "127.0.0.1") -> None:
        self._backends = {name: Backend(name, host=host) for name in names}

    def __getitem__(self, name: str) -> Backend:
        return self._backends[name]

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._backends.values())

    @property
    def counts(self) -> dict[str, int]:
        """Requests that have reached each backend."""
        return {backend.name: backend.count for backend in self}

    def reset(self) -> None:
        """Count from 0 again, in all of them."""
        for backend in self:
            backend.reset()

    def close(self) -> None:
        """Close all of them."""
        for backend in self:
            backend.close()

    def __enter__(self) -> Self:
        try:
            for backend in self:
                backend.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
