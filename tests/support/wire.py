"""A connection that tests can cut: a TCP relay on loopback in front of a server that knows nothing of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Self

from xds_server.testing.loop import run


class Wire:
    """Leads to `target` (host:port, may change at any time) until it is `cut`, and again once it is `mended`."""

    def __init__(self) -> None:
        self.address = ""
        """Where clients connect: host:port."""
        self.target = ""
        self._whole = True
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[Any]] = set()

    def cut(self) -> None:
        """Break all connections off, and new ones at once."""
        self._whole = False
        run(self._abort())

    def mend(self) -> None:
        """Let new connections through."""
        self._whole = True

    def __enter__(self) -> Self:
        run(self._start())
        return self

    def __exit__(self, *error: Any) -> None:
        run(self._stop())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._abort()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _abort(self) -> None:
        for end in tuple(self._ends):
            end.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self._ends.add(writer)
        try:
            # A server that is not there ends the connection, as the machine would.
            with suppress(OSError):
                if self._whole:
                    await self._both_ways(reader, writer)
        finally:
            self._relays.discard(task)
            self._ends.discard(writer)
            writer.transport.abort()

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._ends.add(far_writer)
        try:
            if not self._whole:
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        finally:
            self._ends.discard(far_writer)
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    # One side's end is the other's: none of the protocols leaves a connection half open.
    writer.close()
