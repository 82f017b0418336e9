"""Listens on the HTTP port."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from xds_server.xds import AddressInUseError
from xds_server.xds.arguments import split_address

IDLE: Final = 120
"""Seconds for which a silent connection stays open: longer than pollers pause, so that none is closed under a request."""

GRACE: Final = 5
"""Seconds that requests under way may take when the server stops."""


class HttpServer:
    """Serves an application on one address."""

    def __init__(self, app: Starlette) -> None:
        # Its log goes where all goes; no signal handlers, as the composition root has its own.
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self, address: str) -> int:
        """Listen on `address` (port 0: any free one) and return the port. Raises AddressInUseError."""
        host, port = split_address(address)
        try:
            listener = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
            )
        except OSError as error:
            raise AddressInUseError(f"cannot listen on {address}: {error.strerror or error}") from None
        listener.setblocking(False)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Let requests under way end, for `GRACE` seconds at most, and close the port."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
