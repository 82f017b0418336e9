"""All workers of one server: started with it, replaced when they die, drained when it stops."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from xds_server.delivery.publisher import Publisher
from xds_server.fleet import NodeStatus, Part
from xds_server.workers.mirror import Mirror
from xds_server.workers.options import Options
from xds_server.workers.port import Reservation
from xds_server.workers.seat import Seat, WorkerDiedError
from xds_server.xds import AddressInUseError, Event

GRACE: Final = 3.0
"""Seconds beyond the time to drain after which a worker that was asked to end is killed."""
_FOR_EVER: Final = 2**63

log = structlog.get_logger("workers")


class WorkersError(Exception):
    """The workers cannot be started. The text is one sentence."""


class Workers:
    """`begin` before anything else of gRPC, `start` where one process would listen, and `stop` likewise; `end` in any case."""

    def __init__(
        self,
        count: int,
        mirror: Mirror,
        publisher: Publisher,
        options: Callable[[int, str], Options],
        tell: Callable[[Event, int], None],
    ) -> None:
        """`mirror`: the publisher's. `options`: of a worker, by its number and the address where all listen. `tell`: called
        with what happens on streams of theirs, and the worker's number."""
        self._count, self._mirror, self._publisher, self._tell = count, mirror, publisher, tell
        self._options = options
        self._seats: list[Seat] = []
        self._running: list[asyncio.Task[None]] = []
        self._addressed: list[asyncio.Future[Options]] = []
        self._departed = Part("", delivered=_FOR_EVER)
        """The nodes of workers that died, as they were then, gone."""
        self._shown: dict[str, Part] = {}
        self._reservation: Reservation | None = None
        self._drain = 0.0
        mirror.expected = count

    def begin(self) -> None:
        """Start the processes, which takes them a moment. Raises WorkersError where they could not share a port."""
        if sys.platform != "linux":
            raise WorkersError(
                "--workers needs Linux, which spreads connections over those who share a port: leave it at 1"
            )
        loop = asyncio.get_running_loop()
        for number in range(1, self._count + 1):
            options: asyncio.Future[Options] = loop.create_future()
            self._addressed.append(options)
            seat = Seat(number, self._mirror, self._publisher, options, self._tell, self._parts_changed)
            self._seats.append(seat)
            self._running.append(loop.create_task(seat.run()))

    async def start(self, address: str) -> int:
        """Have all of them listen on host:port (port 0: any free one), and return the port.

        Raises ValueError for a host without an address, AddressInUseError, and WorkersError.
        """
        self._reservation = await Reservation.of(address)
        for number, future in enumerate(self._addressed, 1):
            options = self._options(number, self._reservation.address)
            self._drain = options.drain_time
            future.set_result(options)
        try:
            await asyncio.gather(*(seat.listening for seat in self._seats))
        except WorkerDiedError as error:
            if "cannot listen" in str(error):
                raise AddressInUseError(str(error)) from None
            raise WorkersError(f"a worker process cannot be started: {error}") from None
        return self._reservation.port

    async def stop(self) -> None:
        """Have them drain, and end."""
        self._mirror.expected = 0
        for seat in self._seats:
            seat.terminate()
        if self._running:
            await asyncio.wait(self._running, timeout=self._drain + GRACE)
        await self.end()

    async def end(self) -> None:
        """End what still runs, and let others have the port."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for seat in self._seats:
            if seat.listening.done() and not seat.listening.cancelled():
                seat.listening.exception()  # which nobody may have asked for
        self._running.clear()
        if self._reservation is not None:
            self._reservation.close()

    def _parts_changed(self) -> None:
        """A worker came, or went."""
        fleet = self._publisher.fleet
        parts = {part.name: part for seat in self._seats if (part := seat.part) is not None}
        gone = [part for name, part in self._shown.items() if parts.get(name) is not part]
        nodes = [_gone(status) for part in gone for status in part.nodes.values()]
        self._departed.take(nodes, ())
        self._departed.forget(fleet.workers.remembered_since)
        self._shown = parts
        fleet.workers.take({**parts, "": self._departed})
        fleet.workers_told([status.id for status in nodes], fleet.revisions if gone else ())


def _gone(status: NodeStatus) -> NodeStatus:
    """A node whose worker died."""
    if not status.connected:
        return status
    return replace(status, connected=False, connected_since=None, disconnected_at=datetime.now(UTC), streams=())
