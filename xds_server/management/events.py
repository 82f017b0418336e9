"""Revisions as they are committed, for those who read along: the source of gRPC's `Watch` and of `/v1/events`.

Nothing is queued for a reader. What one is is a number, that of the revision that it read last; the newest revisions are kept
here, once for all, and those before them are in the store. So one that was away goes on where it was, and one that reads slowly
costs nothing; when it falls ever further behind it is told so, and ended.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.errors import UnknownRecordError
from xds_server.catalog.store.records import Outline
from xds_server.catalog.store.store import Committed
from xds_server.management import views

PATIENCE: Final = 1_000
"""Revisions by which a reader may fall further behind than it was."""
RECENT: Final = 1_000
"""Revisions that are kept here."""
RECENT_NAMES: Final = 50_000
"""Records that these may name, all together."""
NAMES: Final = 1_000
"""Records that one event names: no more than clients take in one message."""
PAGE: Final = 20
"""Revisions that are read from the store at once."""


class EndedError(Exception):
    """A reader is told no more. Its text says why, and how to go on."""

    def __init__(self, problem: str, after: int) -> None:
        self.after = after
        """The revision that it read last."""
        super().__init__(problem)


class FellBehindError(EndedError):
    """It reads more slowly than revisions are made."""


class StoppingError(EndedError):
    """The server stops."""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One revision."""

    number: int
    data: Mapping[str, Any]
    """As `views.event` has it."""


class Events:
    """What readers share."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._recent: dict[int, Event] = {}
        self._names = 0
        self._moved = asyncio.Event()
        self._ended = asyncio.Event()
        catalog.listeners.append(self._take)

    @property
    def head(self) -> int:
        """The newest revision."""
        return self._catalog.head

    async def reader(self, after: int | None = None) -> "Reader":
        """One who reads the revisions after a number; None: those from now on. Raises UnknownRecordError, StoreError."""
        if after is None:
            return Reader(self, self.head)
        if after > self.head:
            await self._catalog.look()  # another replica may have made it
        if after > self.head:
            raise UnknownRecordError("revision", str(after), f": the newest is {self.head}")
        reader = Reader(self, after)
        if after < self.head:
            await reader.find(after + 1)
        return reader

    async def page(self, after: int) -> list[Event]:
        """Revisions from the store, without a gap. Raises UnknownRecordError, StoreError."""
        store = self._catalog.store
        found = await self._catalog.call(lambda: store.outlines(after, most=PAGE, names=NAMES))
        if not found or found[0].revision.number != after + 1:
            oldest = found[0].revision.number if found else self.head
            raise UnknownRecordError("revision", str(after + 1), f": those from {oldest} to {self.head} are kept")
        return [_event(outline) for outline in found]

    def recent(self, number: int) -> Event | None:
        """A revision, if it is kept here."""
        return self._recent.get(number)

    @property
    def has_ended(self) -> bool:
        """Whether readers are told no more."""
        return self._ended.is_set()

    async def until_ended(self) -> None:
        """Wait for the end."""
        await self._ended.wait()

    async def moved(self) -> None:
        """Wait for the next revision, or the end."""
        await self._moved.wait()

    def end(self) -> None:
        """Tell readers that there is no more, as the server stops."""
        self._ended.set()
        self._wake()

    def _take(self, committed: Committed) -> None:
        revision, changes = committed
        named = {key: changes[key].action for key in nsmallest(NAMES, changes)}
        event = _event(Outline(revision, named, len(changes)))
        self._recent[event.number] = event
        self._names += len(named)
        while len(self._recent) > RECENT or (self._names > RECENT_NAMES and len(self._recent) > 1):
            oldest = self._recent.pop(next(iter(self._recent)))
            self._names -= len(oldest.data["changes"])
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Reader:
    """One who reads along."""

    def __init__(self, events: Events, after: int) -> None:
        self._events = events
        self.after = after
        """The revision that was read last."""
        self._allowed = events.head - after + PATIENCE
        self._page: deque[Event] = deque()

    async def next(self) -> Event:
        """The next revision; waits for it. Raises EndedError, UnknownRecordError for one that was forgotten, StoreError."""
        events = self._events
        while True:
            if events.has_ended:
                raise StoppingError(
                    f"the server stops: go on after revision {self.after} at another one, or later", self.after
                )
            behind = events.head - self.after
            if behind > self._allowed:
                raise FellBehindError(
                    f"{behind} revisions were made since the last one that was read: go on after revision {self.after}, "
                    "and read faster",
                    self.after,
                )
            if behind:
                event = await self.find(self.after + 1)
                self.after = event.number
                self._allowed = min(self._allowed, behind - 1 + PATIENCE)
                return event
            await events.moved()

    async def find(self, number: int) -> Event:
        """A revision that there is. Raises UnknownRecordError, StoreError."""
        while self._page and self._page[0].number < number:
            self._page.popleft()
        if not self._page and (event := self._events.recent(number)) is not None:
            return event
        if not self._page:
            self._page.extend(await self._events.page(number - 1))
        return self._page[0]


def _event(outline: Outline) -> Event:
    return Event(outline.revision.number, views.event(outline))
