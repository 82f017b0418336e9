"""Changes of single records at a high rate: those that come within a moment share a commit.

A commit waits for the disk, and each revision for its delivery, so that a revision for each of 500 updates a second would be
more than there is to tell. A change that stands alone is committed at once.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.contents import Contents, Value
from xds_server.catalog.errors import RefusedError
from xds_server.catalog.planning import Proposal, Put
from xds_server.catalog.store.records import Attribution, Key

PAUSE: Final = 0.05
"""Seconds between two commits."""
BEHIND: Final = 0.5
"""Seconds for which a commit waits, beyond that, while earlier ones are being delivered. More changes share it then, so that
what is behind catches up instead of falling further behind."""

RecordEdit = Callable[[Contents, Value | None], Proposal]
"""What somebody wants of one record, given what is in force, and what the record says: in force, or as those before leave it
whose changes share the revision. May raise a RefusedError."""


class _Waiting(NamedTuple):
    key: Key
    by: Attribution
    edit: RecordEdit
    expected: Mapping[Key, int]
    done: "asyncio.Future[Outcome]"


class Batches:
    """Commits changes of single records, at most one revision in `PAUSE` for each author who says the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    async def commit(
        self, key: Key, by: Attribution, edit: RecordEdit, expected: Mapping[Key, int] | None = None
    ) -> Outcome:
        """As `Catalog.commit` for a change of the record `key` alone. `expected`: as `Proposal` has it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Waiting(key, by, edit, expected or {}, done))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await asyncio.sleep(max(0.0, self._next - loop.time()))
                await self._catalog.until_idle(BEHIND)
                self._next = loop.time() + PAUSE
                waiting, self._waiting = self._waiting, []
                for batch in _batches(waiting):
                    await self._commit(batch)
        finally:
            self._task = None

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            outcome = await self._catalog.commit(lambda contents: _merged(contents, batch))
        except RefusedError as error:
            await self._commit_possible(batch, error)
        except BaseException as error:
            for each in batch:
                _fail(each, error)
            if not isinstance(error, Exception):
                raise
        else:
            for each in batch:
                _succeed(each, outcome)

    async def _commit_possible(self, batch: list[_Waiting], error: RefusedError) -> None:
        """One that cannot be must not take the others with it."""
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        possible = []
        before = _Merged(self._catalog.contents)
        for each in batch:
            try:
                wanted = before.wanted(each)
                self._catalog.plan(lambda _, wanted=wanted: wanted)  # type: ignore[misc]
            except Exception as why:
                _fail(each, why)
            else:
                before.take(wanted)
                possible.append(each)
            await asyncio.sleep(0)
        # Where each is possible but not all together, they come one by one.
        for part in [possible] if possible and len(possible) < len(batch) else [[each] for each in possible]:
            await self._commit(part)


def _batches(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Changes by the same author, in the order in which they came. Who expects a record to be as it was read shares a revision
    neither with a change of it nor with who expects it to be another one."""
    batch: list[_Waiting] = []
    keys: set[Key] = set()
    expected: dict[Key, int] = {}
    for each in waiting:
        differs = any(expected.get(key, revision) != revision for key, revision in each.expected.items())
        if batch and (each.by != batch[0].by or differs or not keys.isdisjoint(each.expected)):
            yield batch
            batch, keys, expected = [], set(), {}
        batch.append(each)
        keys.add(each.key)
        expected |= each.expected
    if batch:
        yield batch


class _Merged:
    """Changes one after another: each finds its record as those before it leave it."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._put: dict[Key, Put] = {}
        self._remove: set[Key] = set()
        self._expected: dict[Key, int] = {}

    def wanted(self, each: _Waiting) -> Proposal:
        """What the next one wants. Raises a RefusedError."""
        before: Value | None = None
        if each.key in self._put:
            before = self._put[each.key].value
        elif each.key not in self._remove and each.key in self._contents:
            before = self._contents.records[each.key].value
        return replace(each.edit(self._contents, before), expected=each.expected)

    def take(self, wanted: Proposal) -> None:
        """It is made."""
        for key in wanted.remove:
            self._put.pop(key, None)
        self._remove |= wanted.remove
        self._remove -= wanted.put.keys()
        self._put |= wanted.put
        self._expected |= wanted.expected

    def proposal(self, by: Attribution) -> Proposal:
        """All of them together."""
        return Proposal(by, self._put, frozenset(self._remove), self._expected)


def _merged(contents: Contents, batch: list[_Waiting]) -> Proposal:
    merged = _Merged(contents)
    for each in batch:
        merged.take(merged.wanted(each))
    return merged.proposal(batch[0].by)


def _succeed(waiting: _Waiting, outcome: Outcome) -> None:
    """Tell each what became of its own change: many others may have come with it."""
    if not waiting.done.done():
        change = outcome.changes.get(waiting.key)
        mine = {waiting.key: change} if change is not None else {}
        waiting.done.set_result(outcome._replace(revision=outcome.revision if mine else None, changes=mine))


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
