"""Holds the port that workers share, so that nobody else takes it: before they listen, and while one of them is replaced.

gRPC shares a port with whoever says so as well (SO_REUSEPORT), and says nothing of it. So the port is bound for us alone first,
which fails where anybody has it. Only then is the socket, which never listens, told to share with other sockets of this user.
"""

import asyncio
import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from xds_server.xds import AddressInUseError
from xds_server.xds.arguments import split_address


class Reservation:
    """A port that is ours for as long as the `with` block lasts."""

    def __init__(self, address: str, port: int, sockets: ExitStack) -> None:
        self.address = address
        """Where workers are to listen: the host that was asked for, and the port."""
        self.port = port
        self._sockets = sockets

    @classmethod
    async def of(cls, address: str) -> "Reservation":
        """For host:port (port 0: any free one). Raises ValueError for a host without an address, and AddressInUseError."""
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{address!r} is no host:port of this machine: {host} has no address ({error})") from None
        with ExitStack() as sockets:
            for family, _, _, _, (at, *_) in found:
                try:
                    held = sockets.enter_context(_held(family, str(at), port))
                except OSError as error:
                    raise AddressInUseError(
                        f"cannot listen on {address}: it is in use or not of this machine ({error.strerror})"
                    ) from None
                port = held.getsockname()[1]
            return cls(f"{address.rpartition(':')[0]}:{port}", port, sockets.pop_all())
        raise AssertionError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        self._sockets.close()


def _held(family: int, host: str, port: int) -> socket.socket:
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections that ended a moment ago do not count; nobody who does the same as this may come in beside it, though.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        held.close()
        raise
    return held
