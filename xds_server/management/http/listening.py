"""Listens on the HTTP port."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from xds_server.security.tls import certificate_names
from xds_server.xds import AddressInUseError
from xds_server.xds.arguments import split_address

IDLE: Final = 120
"""Seconds for which a silent connection stays open: longer than pollers pause, so that none is closed under a request."""

GRACE: Final = 5
"""Seconds that requests under way may take when the server stops."""


def certificate_of(scope: Any) -> tuple[str, ...] | None:
    """DNS names and URIs of the certificate that the client of a request showed; None where it showed none."""
    names: tuple[str, ...] | None = scope.get("state", {}).get(_CERTIFICATE)
    return names


class HttpServer:
    """Serves an application on one address."""

    def __init__(self, app: Starlette, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: default plain text."""
        # Its log goes where all goes; no signal handlers, as the composition root has its own.
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Connection,
                ssl_context_factory=(lambda *_: tls) if tls is not None else None,
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
        # Connections inherit it. Head and body of an answer are two writes: the second would wait for the client's delayed
        # acknowledgement, 40 ms for each request but the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Let requests under way end, for `GRACE` seconds at most, and close the port."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


_CERTIFICATE: Final = "client_certificate"
"""Where requests carry what `certificate_of` gives."""


class _Connection(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Each request gets a copy of this.
        names = certificate_names(transport.get_extra_info("peercert"))
        self.app_state = {**self.app_state, _CERTIFICATE: names}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
