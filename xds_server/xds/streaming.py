"""Runs streams over grpc.aio: a reader and a writer for each. All waiting of the protocol is here.

One writer per stream, and nothing is queued: what to send is decided when it is sent. A slow client keeps only its own
writer waiting, for as long as keepalive finds it alive (P5, P6); a send that fails ends the stream (P7).
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final
from urllib.parse import unquote

import grpc

from xds_server.xds.limits import Limits, Turnstile
from xds_server.xds.polling import NotReadyError
from xds_server.xds.resource import Resource
from xds_server.xds.room import Room
from xds_server.xds.stream import InvalidRequestError, RefusedError, Stream, TooMuchError

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]
log: Final = logging.getLogger(__name__)

_STATUS: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    NotReadyError: grpc.StatusCode.UNAVAILABLE,
    RefusedError: grpc.StatusCode.PERMISSION_DENIED,
    TooMuchError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""How a call ends early, other than by an error of the server."""
_DETAIL: Final = 1_000
"""Characters of a status message: the trailers of a call hold 8 KiB (P4)."""
History = Callable[[str, Resource], Awaitable[Resource | None]]
"""Finds the version of a resource before the given one, in the named group; None where that is not known."""
_PER_STREAM: Final = 0.005
"""Seconds that each stream adds to the time over which all of them end."""


class Streaming:
    """The open streams of one server."""

    def __init__(self, limits: Limits, history: History | None = None, room: Room | None = None) -> None:
        """`history`: see `DiscoveryServer`. `room`: for first answers."""
        self._history = history
        self._room = room or Room()
        rate = limits.new_streams_per_second
        self._turnstile = Turnstile(rate, 2 * rate, limits.stream_wait)
        self._limits = limits
        self._open: dict[Stream[Any], asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._ending_over = 0.0

    def wake(self, stream: Stream[Any]) -> None:
        """The stream may have something to say."""
        if (event := self._open.get(stream)) is not None:
            event.set()

    def __len__(self) -> int:
        return len(self._open)

    def stop(self) -> float:
        """Let all streams end, spread over a time that grows with their number; returns that time in seconds (P16)."""
        self._ending_over = min(self._limits.drain, _PER_STREAM * len(self._open))
        self._stopping.set()
        self._room.open()
        for wake in self._open.values():
            wake.set()
        return self._ending_over

    async def serve(self, stream: Stream[Any], context: Any) -> None:
        """Serve one call until an end is reached. Ends it with a status of `_STATUS` where it must."""
        wait = self._turnstile.enter(time.monotonic())
        if wait is None:
            rate = self._limits.new_streams_per_second
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {rate:g} new streams per second: try later"
            )
        elif wait:
            await asyncio.sleep(wait)
        wake = self._open[stream] = asyncio.Event()
        reader = asyncio.create_task(self._read(stream, wake, context))
        reader.add_done_callback(lambda _: wake.set())
        detail = "the connection ended"
        try:
            await self._write(stream, wake, reader, context)
            if reader.done():
                await reader
                detail = "the client left"
            elif self._stopping.is_set():
                detail = "the server stops"
                await asyncio.sleep(random.uniform(0, self._ending_over))
        except grpc.aio.BaseError:
            pass  # the client is gone while it was written to
        except Exception as error:
            status, detail = _end(error)
            await context.abort(status, detail)
        finally:
            reader.cancel()
            self._open.pop(stream, None)
            stream.close(detail)

    async def _write(self, stream: Stream[Any], wake: asyncio.Event, reader: asyncio.Task[None], context: Any) -> None:
        while not reader.done() and not self._stopping.is_set():
            wake.clear()
            while await self._send(stream, reader, context):
                pass
            await _wait(wake, stream.next_try)

    async def _send(self, stream: Stream[Any], reader: asyncio.Task[None], context: Any) -> bool:
        """Send the next response; returns whether there was one."""
        is_first = stream.has_new_watch
        if is_first:
            await self._room.enter()
            if reader.done() or self._stopping.is_set():
                self._room.pass_on()
                return False
        response = stream.respond(time.monotonic())
        if response is None:
            if is_first:
                self._room.pass_on()
            return False
        with self._room.take(len(response.payload)) if is_first else nullcontext():
            await context.write(response.payload)
        return True

    async def _read(self, stream: Stream[Any], wake: asyncio.Event, context: Any) -> None:
        with suppress(grpc.aio.BaseError):  # the call ended while a read was under way
            while (raw := await context.read()) is not _EOF:
                stream.receive(parse(stream.request, raw))
                wake.set()
                for refused in stream.sought():
                    await self._look_back(stream, refused)
                    wake.set()

    async def _look_back(self, stream: Stream[Any], refused: Resource) -> None:
        if self._history is None or stream.group is None:
            return
        try:
            older = await self._history(stream.group.name, refused)
        except Exception:
            log.exception("what a rejected resource was before is not known")
        else:
            if older is not None:
                stream.found(refused, older)


async def ending(work: Awaitable[bytes], context: Any) -> bytes:
    """Answer a unary call with what `work` returns, or end it as a stream would end."""
    try:
        return await work
    except Exception as error:
        await context.abort(*_end(error))
        raise


def _end(error: Exception) -> tuple[grpc.StatusCode, str]:
    if type(error) in _STATUS:
        return _STATUS[type(error)], _short(str(error))
    log.error("a call ends by an error of the server", exc_info=error)
    return grpc.StatusCode.INTERNAL, "an error of the server: see its log"


def parse(kind: type[Any], raw: bytes) -> Any:
    """Read a message from its bytes. Raises InvalidRequestError."""
    try:
        return kind.FromString(raw)
    except Exception as error:
        raise InvalidRequestError(f"not a {kind.DESCRIPTOR.name}: {error}") from None


def peer_address(peer: str) -> str:
    """The client's ``ADDRESS:PORT`` from what gRPC calls a peer: ``ipv4:127.0.0.1:80``, ``ipv6:%5B::1%5D:80``."""
    kind, _, address = unquote(peer).partition(":")
    return address if kind in ("ipv4", "ipv6") else unquote(peer)


def _short(text: str) -> str:
    return text if len(text) <= _DETAIL else f"{text[:_DETAIL]} …"


async def _wait(wake: asyncio.Event, until: float | None) -> None:
    if until is None:
        await wake.wait()
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await wake.wait()
