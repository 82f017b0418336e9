"""Real gRPC servers for tests: they count what they get, answer with their name, fail and hold as told."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from typing import Any, Self

import grpc

from xds_server.testing.loop import run

METHODS = ("/test.Echo/Call", "/test.Echo/Stream")
"""`Call` answers with the backend's name; `Stream` sends it, waits for `release`, and sends it again."""


class GrpcBackend:
    """One server on 127.0.0.1, for as long as the `with` block lasts. `stop` and `start` keep its port."""

    host = "127.0.0.1"

    def __init__(self, name: str, credentials: grpc.ServerCredentials | None = None) -> None:
        """`credentials`: for TLS; None for plain text."""
        self.name = name
        self._credentials = credentials
        self.port = 0
        self.calls = 0
        """RPCs that began here, retries included."""
        self.cancelled = 0
        """`Stream`s that were given up before their end."""
        self.peers: Counter[str] = Counter()
        """RPCs by the client's address and port, that is by connection."""
        self.attempts: Counter[str] = Counter()
        """RPCs by how many attempts the client says that it made before (empty for none)."""
        self.fails_with: grpc.StatusCode | None = None
        """Status of every `Call` from now on; None for OK."""
        self._released = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    def start(self) -> Self:
        run(self._start())
        return self

    def stop(self) -> None:
        """End every RPC and refuse connections."""
        run(self._stop())

    def release(self) -> None:
        """Let every `Stream` end that waits, now and later."""
        run(self._release())

    async def _start(self) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = {
            "Call": grpc.unary_unary_rpc_method_handler(self._call),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Stream": grpc.unary_stream_rpc_method_handler(self._stream),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", handlers)])
        address = f"{self.host}:{self.port}"
        if self._credentials is not None:
            self.port = server.add_secure_port(address, self._credentials)
        else:
            self.port = server.add_insecure_port(address)
        await server.start()
        self._server = server

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def _release(self) -> None:
        self._released.set()

    def _count(self, context: Any) -> None:
        self.calls += 1
        self.peers[context.peer()] += 1
        self.attempts[dict(context.invocation_metadata()).get("grpc-previous-rpc-attempts", "")] += 1

    async def _call(self, _: bytes, context: Any) -> bytes:
        self._count(context)
        if self.fails_with is not None:
            await context.abort(self.fails_with, f"{self.name} was told to")
        context.set_trailing_metadata((("x-backend", self.name),))
        return self.name.encode()

    async def _chat(self, requests: Any, context: Any) -> Any:
        """Answers each message with itself, as it comes."""
        self._count(context)
        async for message in requests:
            yield message

    async def _stream(self, _: bytes, context: Any) -> Any:
        self._count(context)
        yield self.name.encode()
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        yield self.name.encode()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: Any) -> None:
        self.stop()


class GrpcBackends:
    """Several backends in one `with` block, by name."""

    def __init__(self, *names: str) -> None:
        self._backends = tuple(map(GrpcBackend, names))
        self._stack = ExitStack()

    def __enter__(self) -> tuple[GrpcBackend, ...]:
        with ExitStack() as stack:
            for backend in self._backends:
                stack.enter_context(backend)
            self._stack = stack.pop_all()
        return self._backends

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
