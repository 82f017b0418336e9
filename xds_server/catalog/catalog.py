"""The catalogue: what is in force, every change of it, and who is told. All that writes goes through `commit`.

A change is planned on what is in force, written in one transaction, and then in force here; delivery follows in the order of
the revisions. Where other replicas write to the same store, a plan made on an old state is refused by the store, and made anew
on the newest one. A store that is lost leaves everything as it is: what is in force goes on being served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, TypeVar

import structlog

from xds_server.catalog.changes import Change as Delivered
from xds_server.catalog.contents import Contents, Value, read
from xds_server.catalog.errors import UnknownRecordError
from xds_server.catalog.guard import Guard
from xds_server.catalog.planning import Plan, Proposal, plan
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import Changes, Key, Revision, State
from xds_server.catalog.store.store import BehindError, Committed, Store

TRIES: Final = 100
"""How often a change is planned anew as another replica was faster."""

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


class Delivery(NamedTuple):
    """One revision on its way to the Envoys."""

    revision: int
    committed: float
    """When, in seconds since the epoch."""
    change: Delivered


class Catalog:
    """The records in force. `load` first; `run` for as long as changes are to be delivered."""

    def __init__(
        self, store: Store, deliver: Callable[[Delivery], Awaitable[None]], *, guard: Guard | None = None
    ) -> None:
        """`deliver` is called for each revision that changes what is in force, one at a time, oldest first."""
        self.store = store
        self.contents = Contents()
        self.guard = guard or Guard()
        self.held: dict[int, Revision] = {}
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
        """Called with each revision, held ones included, as it is committed here or seen from another replica."""
        self._deliver = deliver
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._moved = asyncio.Condition()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store")

    async def load(self) -> None:
        """Take everything from the store. Raises StoreError."""
        async with self._turn:
            self.head, held = await self.call(self.store.load)
            self.contents.load(self.head, held)
            await self._reload_held()

    def begin(self) -> None:
        """Deliver everything that is in force, once; what is committed from now on follows."""
        if not self.has_begun:
            self.has_begun = True
            everything = self.contents.delivered([*self.contents.records])
            self._queue.put_nowait(Delivery(self.head, datetime.now(UTC).timestamp(), everything))

    async def run(self) -> None:
        """Deliver what is committed, until cancelled."""
        while True:
            delivery = await self._queue.get()
            await self._deliver(delivery)
            async with self._moved:
                self.delivered = delivery.revision
                self._moved.notify_all()

    def close(self) -> None:
        """Let go of the store."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.store.close()

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Have a method of the store done, off the event loop. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    async def until_delivered(self, number: int) -> None:
        """Wait until everything up to a revision was delivered."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.delivered >= number)

    # Writing

    def plan(self, edit: Edit) -> tuple[Proposal, Plan]:
        """What a change would do now, without doing it. Raises a RefusedError."""
        proposal = edit(self.contents)
        return proposal, plan(self.contents, proposal, self.guard)

    async def commit(self, edit: Edit) -> Outcome:
        """Make a change durable, and then in force. Raises a RefusedError or StoreError; then nothing changed."""
        async with self._turn:
            for _ in range(TRIES):
                proposal, made = self.plan(edit)
                if not made.changes:
                    return Outcome(self.head, None, {})
                try:
                    revision = await self._write(proposal, made)
                except BehindError:
                    await self._catch_up()
                    continue
                self._take(Committed(revision, made.changes), made.values)
                if self.held:
                    await self._reload_held()
                return Outcome(revision.number, revision, made.changes)
        raise StoreError(f"other replicas were faster {TRIES} times in a row: try again")

    async def look(self) -> None:
        """Find out whether the store can be written, and take in what happened meanwhile. Raises StoreError."""
        await self.call(self.store.check)
        self.found()
        await self.catch_up()

    async def catch_up(self) -> None:
        """Take in what other replicas committed. Raises StoreError."""
        async with self._turn:
            await self._catch_up()

    async def _write(self, proposal: Proposal, made: Plan) -> Revision:
        now = datetime.now(UTC)
        mark: dict[int, State] = {}
        for number, held in self.held.items():
            if number == proposal.refers_to:
                mark[number] = "released"
            elif held.by.source == proposal.by.source and await self._is_newer(held, made.changes):
                mark[number] = "superseded"
        commit = partial(
            self.store.commit,
            state="held" if made.objection else "applied",
            refers_to=proposal.refers_to,
            note=made.objection,
            mark=mark,
        )
        try:
            revision = await self.call(commit, self.head, now, proposal.by, made.changes)
        except StoreError as error:
            self._lost(str(error))
            raise
        self.found()
        return revision

    async def _is_newer(self, held: Revision, changes: Changes) -> bool:
        """Whether a change takes the place of a held one: of files always, else when it is about the same."""
        if held.by.source == "files":
            return True
        committed = await self.call(self.store.revision, held.number)
        return committed is not None and not committed.changes.keys().isdisjoint(changes)

    async def _catch_up(self) -> None:
        while found := await self.call(self.store.since, self.head):
            for committed in found:
                self._take(committed)
        await self._reload_held()

    def _take(self, committed: Committed, values: Mapping[Key, Value] | None = None) -> None:
        revision, changes = committed
        self.head = revision.number
        for listener in self.listeners:
            listener(committed)
        if revision.state != "applied":
            if revision.state == "held":
                self.held[revision.number] = revision
                log.warning("revision.held", revision=revision.number, author=revision.by.author, problem=revision.note)
            return
        self.contents.apply(revision.number, changes, values)
        if self.has_begun:
            delivered = self.contents.delivered(changes)
            self._queue.put_nowait(Delivery(revision.number, revision.time.timestamp(), delivered))
        log.info(
            "revision.committed",
            revision=revision.number,
            author=revision.by.author,
            client=revision.by.client,
            message=revision.by.message,
            changes=len(changes),
        )

    async def _reload_held(self) -> None:
        found = await self.call(partial(self.store.revisions, state="held", most=1000))
        self.held = {revision.number: revision for revision in found}

    # Whether it can be written

    def _lost(self, problem: str) -> None:
        if not self.problem:
            log.error("store.lost", problem=problem, detail="what is in force goes on being served")
        self.problem = problem

    def found(self) -> None:
        """The store was written or read: note that it is there again."""
        if self.problem:
            log.info("store.found")
        self.problem = ""

    async def prune(self, *, keep: int, newer_than: timedelta) -> int:
        """Forget old revisions; returns how many."""
        since = datetime.now(UTC) - newer_than if newer_than else datetime.fromtimestamp(0, UTC)
        return await self.call(partial(self.store.prune, keep=keep, newer_than=since))

    # History

    async def committed(self, number: int) -> Committed:
        """One revision. Raises UnknownRecordError."""
        found = await self.call(self.store.revision, number)
        if found is None:
            oldest = await self.call(self.store.oldest)
            raise UnknownRecordError("revision", str(number), f": those from {oldest} to {self.head} are kept")
        return found

    async def state_at(self, number: int) -> dict[Key, Value]:
        """What was in force as of a revision. Raises UnknownRecordError."""
        await self.committed(number)
        held = await self.call(self.store.state_at, number)
        return {key: read(key[0], each.entry) for key, each in held.items()}
