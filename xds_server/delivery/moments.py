"""What definitions mean at this moment: drains that have come to their end, and targets that stay for an overlap.

The only place of the delivery that reads clocks: the wall clock for what definitions say, another one, which nobody sets,
for overlaps. One timer waits for whatever is next.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

import structlog

from xds_server.delivery.in_force import Definition, Key
from xds_server.delivery.overlap import History, Said, plan
from xds_server.delivery.resolving import Resolved, addresses_of
from xds_server.delivery.schedule import Schedule
from xds_server.upstreams.deadlines import as_of, next_deadline
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.translate import Addresses

LONGEST_SLEEP: Final = 30.0
"""Seconds after which the wall clock is looked at again while a deadline is ahead: it may have been set."""
RETRY: Final = 5.0
"""Seconds until what could not be carried out is tried again."""

log = structlog.get_logger("delivery")


def _wall() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """Where the time comes from."""

    wall: Callable[[], datetime] = _wall
    monotonic: Callable[[], float] = time.monotonic


class Ahead(NamedTuple):
    """What is ahead of a definition that is served as it is at a moment."""

    history: History | None = None
    """See `Plan.history`."""
    until: float | None = None
    """See `Plan.until`."""
    deadline: float | None = None
    """When it means something else, in seconds of the wall clock."""
    is_unserved: bool = False
    """See `Plan.is_unserved`."""
    is_lasting: bool = True
    """Whether just what the definition says is served, today and at any other time."""


NOTHING: Final = Ahead()


class Input(NamedTuple):
    """A definition as it is served at a moment."""

    definition: Definition
    """As it was written."""
    value: Upstream | Gateway
    """As it is at this moment."""
    addresses: Addresses
    ahead: Ahead = NOTHING


class Times(NamedTuple):
    """A moment."""

    wall: datetime
    monotonic: float


class Moments:
    """Remembers of each upstream what overlaps need, and calls `on_due` with those that mean something else by now."""

    def __init__(self, on_due: Callable[[set[Key]], Awaitable[None]], clock: Clock | None = None) -> None:
        self._on_due = on_due
        self._clock = clock or Clock()
        self._histories: dict[Key, History] = {}
        self._deadlines: Schedule[Key] = Schedule()
        self._overlaps: Schedule[Key] = Schedule()
        self._changed = asyncio.Event()

    def now(self) -> Times:
        """This moment."""
        return Times(self._clock.wall(), self._clock.monotonic())

    def input(self, key: Key, definition: Definition, resolved: Resolved, at: Times, *, polled: bool = False) -> Input:
        """What to serve of a definition. `polled`: there are Envoys that poll."""
        written = definition.value
        if not isinstance(written, Upstream):
            return Input(definition, written, {})
        upstream = as_of(written, at.wall)
        addresses = addresses_of(upstream, resolved)
        planned = plan(self._histories.get(key), upstream, addresses, at.monotonic, polled=polled)
        history = planned.history
        if history is not None and upstream is written:
            history = replace(history, said=cast(Said, definition))  # which may do without the model
        deadline = next_deadline(written, at.wall)
        then = deadline.timestamp() if deadline else None
        lasting = planned.upstream is written and deadline is None
        ahead = Ahead(history, planned.until, then, planned.is_unserved, lasting)
        return Input(definition, planned.upstream, planned.addresses, ahead)

    def accept(self, served: Mapping[Key, Ahead]) -> None:
        """Take it that definitions are served now of which this is ahead."""
        for key, ahead in served.items():
            history = ahead.history
            self._tell(key, self._histories.pop(key, None), history)
            if history is not None:
                self._histories[key] = history
            self._deadlines.put(key, ahead.deadline)
            self._overlaps.put(key, ahead.until)
        self._changed.set()

    async def run(self) -> None:
        """Wait for what falls due, until cancelled."""
        while True:
            self._changed.clear()
            tick, now = self._clock.monotonic(), self._clock.wall().timestamp()
            ended = self._deadlines.due(now)
            for _, name in sorted(ended):
                log.info("drain.ended", name=name)
            if due := ended | self._overlaps.due(tick):
                await self._carry_out(due)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait(tick, now)):
                    await self._changed.wait()

    def _wait(self, tick: float, now: float) -> float | None:
        overlap, deadline = self._overlaps.next, self._deadlines.next
        waits = [] if overlap is None else [overlap - tick]
        if deadline is not None:
            waits.append(min(deadline - now, LONGEST_SLEEP))
        return max(0.0, min(waits)) if waits else None

    async def _carry_out(self, due: set[Key]) -> None:
        """Nothing that goes wrong with one definition may end the server, or be forgotten."""
        try:
            await self._on_due(due)
        except Exception:
            log.exception("delivery.due_failed", names=sorted(name for _, name in due))
            for key in due:
                self._overlaps.put(key, self._clock.monotonic() + RETRY)

    @staticmethod
    def _tell(key: Key, before: History | None, after: History | None) -> None:
        old, new = (history.kept if history else {} for history in (before, after))
        if new.keys() != old.keys():
            kept = [f"{address}:{port}" for address, port in sorted(new)]
            log.info("overlap.serving" if new else "overlap.ended", name=key[1], replaced_targets=", ".join(kept))
