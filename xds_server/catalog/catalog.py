"""The catalogue: what is in force, every change of it, and who is told. All that writes goes through `commit`.

A change is planned on what is in force, written in one transaction, and then in force here; delivery follows in the order of
the revisions. Where other replicas write to the same store, a plan made on an old state is refused by the store, and made anew
on the newest one. A store that is lost leaves everything as it is: what is in force goes on being served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from xds_server.catalog.calls import LONG, PATIENCE, Calls
from xds_server.catalog.changes import Change as Delivered
from xds_server.catalog.contents import Contents, Value, read
from xds_server.catalog.errors import RefusedError, UnknownRecordError
from xds_server.catalog.guard import Guard
from xds_server.catalog.held import marks, same
from xds_server.catalog.planning import Plan, Proposal, plan
from xds_server.catalog.readymade import Loaded, Readymade, load
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import FILES, Changes, Held, Key, Revision, State
from xds_server.catalog.store.store import BehindError, Committed, Store
from xds_server.catalog.writing import write

TRIES: Final = 100
"""How often a change is planned anew as another replica was faster."""
HURRY: Final = 1.0
"""Seconds for which a store that is lost is waited for."""

T = TypeVar("T")
Edit = Callable[[Contents], Proposal]
"""What somebody wants, given what is in force; may be asked again when that has changed. May raise a RefusedError."""
log = structlog.get_logger("catalog")


class Outcome(NamedTuple):
    """What became of a change."""

    number: int
    """Of the revision that was made, or, where nothing had to change, of the newest one."""
    revision: Revision | None
    """None when everything was as wanted already."""
    changes: Changes

    @property
    def is_held(self) -> bool:
        """Whether the guard holds it, so that nothing of it is served."""
        return self.revision is not None and self.revision.state == "held"

    def revision_of(self, key: Key, otherwise: int) -> int:
        """The revision that made a record what this change left it; `otherwise` where it left it alone. What is in force by now
        may be somebody else's, whom the caller has not seen."""
        change = self.changes.get(key)
        if change is None or self.is_held:
            return otherwise
        return self.number if change.entry is not None else 0


class Delivery(NamedTuple):
    """One revision on its way to the Envoys."""

    revision: int
    committed: float
    """When, in seconds since the epoch."""
    change: Delivered
    models: Sequence[Value] = ()
    """Of what is in it, so that it is not read once more."""
    made: dict[Key, bytes] = {}
    """What definitions in it became in an earlier run, where that is known: see `readymade`. Who reads it may empty it."""


class Catalog:
    """The records in force. `load` first; `run` for as long as changes are to be delivered."""

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Delivery], Awaitable[None]],
        *,
        guard: Guard | None = None,
        awaits_files: bool = False,
        readymade: Readymade | None = None,
    ) -> None:
        """`deliver` is called for each revision that changes what is in force, one at a time, oldest first; the first time
        with everything. `awaits_files`: a new store delivers nothing before files were heard, rather than anybody at all.
        `readymade`: what definitions became in earlier runs."""
        self.store = store
        self.contents = Contents()
        self.guard = guard or Guard()
        self.held: dict[int, Committed] = {}
        """Revisions that wait to be confirmed."""
        self.head = 0
        """Number of the newest revision, held ones included."""
        self.problem = ""
        """Why the store cannot be written; empty while it can."""
        self.has_begun = False
        """Whether anything is delivered yet: an empty answer that comes too early would empty every Envoy (S16)."""
        self.delivered = -1
        """The newest revision that was delivered; -1 before the first delivery."""
        self.listeners: list[Callable[[Committed], None]] = []
        """Called with each revision, held ones included, once it is committed here or seen from another replica."""
        self._deliver = deliver
        self._awaits_files = awaits_files
        self._readymade = readymade
        self._held_as_of = 0
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._moved = asyncio.Condition()
        self._calls = Calls()

    async def load(self) -> None:
        """Take everything from the store; where it holds any revision, delivery begins. Raises StoreError. One that can be read
        but not written is served, and is lost."""
        async with self._turn:
            loaded, _ = await self._load(self._readymade)
            with suppress(StoreError):
                await self._ask(self.store.check)
            log.debug("store.loaded", revision=loaded.head, records=len(loaded.records), ready=len(loaded.made))
            if self.head:
                self._begin(loaded)

    @property
    def is_new(self) -> bool:
        """Whether nobody has defined anything yet, and no files are to. Nothing is delivered then: a store that was mistaken
        for another one, or lost, must not empty the Envoys that come to it."""
        return not (self.head or self.has_begun or self._awaits_files)

    async def run(self) -> None:
        """Deliver what is committed, until cancelled."""
        while True:
            delivery = await self._queue.get()
            await self._deliver(delivery)
            number = delivery.revision
            del delivery  # with the models in it, before the next one comes
            async with self._moved:
                self.delivered = number
                self._moved.notify_all()
            self._queue.task_done()

    def close(self) -> None:
        """Let go of the store."""
        self._calls.close()
        self.store.close()

    async def call(self, function: Callable[..., T], *arguments: object, patience: float = PATIENCE) -> T:
        """Have a method of the store done, off the event loop. Raises StoreError, after `patience` seconds at the latest, and
        sooner of a store that is lost."""
        return await self._calls(function, *arguments, patience=min(patience, HURRY) if self.problem else patience)

    async def until_delivered(self, number: int) -> None:
        """Wait until everything up to a revision was delivered."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.delivered >= number)

    async def until_idle(self, patience: float) -> None:
        """Wait until all that is committed was delivered, for `patience` seconds at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._queue.join()

    # Writing

    def plan(self, edit: Edit) -> tuple[Proposal, Plan]:
        """What a change would do now, without doing it. Raises a RefusedError."""
        proposal = edit(self.contents)
        return proposal, plan(self.contents, proposal, self.guard)

    async def commit(self, edit: Edit) -> Outcome:
        """Make a change durable, and then in force.

        Raises a RefusedError or StoreError, and then nothing changed, except with InDoubtError, which says so. Who stops
        waiting does not stop a change that is under way.
        """
        return await asyncio.shield(asyncio.ensure_future(self._commit(edit)))

    async def _commit(self, edit: Edit) -> Outcome:
        self._refuse_if_lost()
        async with self._turn:
            self._refuse_if_lost()
            for _ in range(TRIES):
                try:
                    proposal, made = self.plan(edit)
                except RefusedError:
                    if await self._was_behind():
                        continue
                    raise
                mark = marks(self.held, proposal, made)
                if (already := same(self.held, proposal, made)) is not None:
                    return Outcome(already.revision.number, *already)
                if not (made.changes or mark or proposal.is_news):
                    if await self._was_behind():
                        continue
                    return Outcome(self.contents.revision, None, {})  # not that of one that is held
                try:
                    revision = await self._write(proposal, made, mark)
                except BehindError:
                    await self._catch_up()
                    continue
                for number in mark:
                    del self.held[number]
                self._take(Committed(revision, made.changes), made.values)
                self._held_as_of = self.head
                return Outcome(revision.number, revision, made.changes)
        raise StoreError(f"other replicas were faster {TRIES} times in a row: try again")

    def _refuse_if_lost(self) -> None:
        """At once: whoever looks for the store has the turn for seconds, and others wait for theirs."""
        if self.problem:
            raise StoreError(self.problem)

    async def _write(self, proposal: Proposal, made: Plan, mark: dict[int, State]) -> Revision:
        state: State = "held" if made.objection else "applied"
        revision = Revision(
            self.head + 1, datetime.now(UTC), proposal.by, state, proposal.refers_to, note=made.objection
        )
        try:
            await write(self._calls, self.store, revision, made.changes, mark)
        except StoreError as error:
            self._lost(str(error))
            raise
        return revision

    # What others wrote

    async def look(self) -> None:
        """Take in what other replicas committed. Of a store that was lost: find out whether it can be written again. Raises
        StoreError."""
        async with self._turn:
            if self.problem:
                await self._ask(self.store.check)
            await self._catch_up()
            if self.problem:
                log.info("store.found")
                self.problem = ""

    async def _was_behind(self) -> bool:
        """Whether another replica had committed what was not known here. It is now: nobody is told no, or that all is as it
        should be, for what was true a moment ago."""
        before = self.head
        if self.store.is_shared:
            await self._catch_up()
        return self.head != before

    async def _catch_up(self) -> None:
        while found := await self._ask(self._read_since, self.head):
            if found[0][0].revision.number != self.head + 1:
                # What came between is forgotten: this replica was cut off for that long.
                log.warning("revisions.missed", last=self.head)
                loaded, changed = await self._load()
                if self.has_begun:
                    self._pass_on(self.head, datetime.now(UTC), changed)
                else:
                    self._begin(loaded)  # as after a restart
                return
            for committed, values in found:
                self._take(committed, values)
        if self._held_as_of != self.head:
            self._wait_for(await self._ask(self.store.held))

    async def _load(self, readymade: Readymade | None = None) -> tuple[Loaded, set[Key]]:
        loaded = await self._ask(load, self.store, self.contents.recent, readymade, patience=LONG)
        self.head = loaded.head
        self._wait_for(loaded.waiting)
        return loaded, self.contents.load(self.head, loaded.records)

    def _wait_for(self, held: Iterable[Committed]) -> None:
        """To be confirmed."""
        self.held = {each.revision.number: each for each in held}
        self._held_as_of = self.head

    async def _ask(self, function: Callable[..., T], *arguments: object, patience: float = PATIENCE) -> T:
        try:
            return await self._calls(function, *arguments, patience=patience)
        except StoreError as error:
            self._lost(str(error))
            raise

    # In threads

    def _read_since(self, number: int) -> list[tuple[Committed, dict[Key, Value]]]:
        return [(each, _values(each.changes)) for each in self.store.since(number)]

    # In force. Nothing from here on pauses.

    def _take(self, committed: Committed, values: Mapping[Key, Value]) -> None:
        revision, changes = committed
        self.head = revision.number
        by = revision.by
        about: dict[str, Any] = {"revision": revision.number, "author": by.author, "changes": len(changes)}
        if revision.state == "held":
            self.held[revision.number] = committed
            log.warning("revision.held", **about, problem=revision.note)
        elif revision.state == "applied":
            self.contents.apply(revision.number, changes, values)
            log.info("revision.committed", **about, client=by.client, message=by.message)
            if self.has_begun:
                self._pass_on(revision.number, revision.time, changes, [*values.values()])
            elif by.source == FILES or not self._awaits_files:
                self._begin()
        for listener in self.listeners:
            try:
                listener(committed)
            except Exception:  # what is committed is committed
                log.exception("revision.listener_failed", revision=revision.number)

    def _begin(self, loaded: Loaded | None = None) -> None:
        self.has_begun = True
        made = loaded.made if loaded is not None else {}
        self._pass_on(self.head, datetime.now(UTC), self.contents.records, made=made)

    def _pass_on(
        self,
        number: int,
        time: datetime,
        keys: Iterable[Key],
        models: Sequence[Value] = (),
        made: dict[Key, bytes] | None = None,
    ) -> None:
        change = self.contents.delivered(keys)
        self._queue.put_nowait(Delivery(number, time.timestamp(), change, models, made or {}))

    def _lost(self, problem: str) -> None:
        if not self.problem:
            log.error("store.lost", problem=problem, detail="what is in force goes on being served")
        self.problem = problem

    # History

    async def prune(self, *, keep: int, newer_than: timedelta) -> int:
        """Forget old revisions; returns how many. Raises StoreError."""
        since = datetime.now(UTC) - newer_than if newer_than else datetime.fromtimestamp(0, UTC)
        return await self.call(partial(self.store.prune, keep=keep, newer_than=since), patience=LONG)

    async def committed(self, number: int) -> Committed:
        """One revision. Raises UnknownRecordError."""
        found = await self.call(self.store.revision, number)
        if found is None:
            oldest = await self.call(self.store.oldest)
            raise UnknownRecordError("revision", str(number), f": those from {oldest} to {self.head} are kept")
        return found

    async def state_at(self, number: int) -> dict[Key, Held]:
        """What was in force as of a revision. Raises UnknownRecordError."""
        await self.committed(number)
        return await self.call(self.store.state_at, number, patience=LONG)


def _values(changes: Changes) -> dict[Key, Value]:
    return {key: read(key[0], change.entry) for key, change in changes.items() if change.entry is not None}
