"""Changes of single records at a high rate: those that come within a moment share a commit.

A commit waits for the disk, and each revision for its delivery, so that a revision for each of 500 updates a second would be
more than there is to tell. A change that stands alone is committed at once.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.contents import Contents, Value
from xds_server.catalog.errors import RefusedError
from xds_server.catalog.planning import Proposal, Put
from xds_server.catalog.store.records import Attribution, Key

PAUSE: Final = 0.05
"""Seconds between two commits."""

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
        for each in batch:
            try:
                self._catalog.plan(lambda contents, each=each: _merged(contents, [each]))  # type: ignore[misc]
            except RefusedError as why:
                _fail(each, why)
            else:
                possible.append(each)
            await asyncio.sleep(0)
        # Where each is possible but not all together, they come one by one.
        for part in [possible] if possible and len(possible) < len(batch) else [[each] for each in possible]:
            await self._commit(part)


def _batches(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Changes by the same author, in the order in which they came. Who expects a record to be as it was read does not share a
    revision with a change of it."""
    batch: list[_Waiting] = []
    keys: set[Key] = set()
    for each in waiting:
        if batch and (each.by != batch[0].by or not keys.isdisjoint(each.expected)):
            yield batch
            batch, keys = [], set()
        batch.append(each)
        keys.add(each.key)
    if batch:
        yield batch


def _merged(contents: Contents, batch: list[_Waiting]) -> Proposal:
    put: dict[Key, Put] = {}
    remove: set[Key] = set()
    expected: dict[Key, int] = {}
    for each in batch:
        before: Value | None = None
        if each.key in put:
            before = put[each.key].value
        elif each.key not in remove and each.key in contents:
            before = contents.records[each.key].value
        wanted = each.edit(contents, before)
        for key in wanted.remove:
            put.pop(key, None)
        remove |= wanted.remove
        remove -= wanted.put.keys()
        put |= wanted.put
        expected |= each.expected
    return Proposal(batch[0].by, put, frozenset(remove), expected)


def _succeed(waiting: _Waiting, outcome: Outcome) -> None:
    """Tell each what became of its own change: many others may have come with it."""
    if not waiting.done.done():
        mine = {key: change for key, change in outcome.changes.items() if key == waiting.key}
        waiting.done.set_result(outcome._replace(revision=outcome.revision if mine else None, changes=mine))


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
