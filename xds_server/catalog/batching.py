"""Changes of single records at a high rate: those that come within a moment share a commit.

A commit waits for the disk, and each revision for its delivery, so that a revision for each of 500 updates a second would be
more than there is to tell. A change that stands alone is committed at once. Several of one record are made one upon the other.
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

Step = Callable[[Contents, Value | None], Put | None]
"""What becomes of one record, given all that is in force and what that record says now; None: it goes, or is not there. May be
asked again when these have changed. May raise a RefusedError."""


class _Waiting(NamedTuple):
    key: Key
    by: Attribution
    step: Step
    expected: Mapping[Key, int]
    done: "asyncio.Future[Outcome]"


class Batches:
    """Commits changes of single records, at most one revision in `PAUSE` for each author who says the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    async def commit(self, key: Key, by: Attribution, step: Step, expected: Mapping[Key, int] | None = None) -> Outcome:
        """Take a `step` of the record `key`. `expected`: as in a `Proposal`. Raises as `Catalog.commit` does."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Waiting(key, by, step, expected or {}, done))
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
        refused: dict[int, RefusedError] = {}
        try:
            outcome = await self._catalog.commit(lambda contents: _merged(contents, batch, refused))
        except RefusedError as error:
            # What cannot be beside the others must not take them with it.
            half = len(batch) // 2
            if not half:
                _fail(batch[0], error)
                return
            await self._commit(batch[:half])
            await self._commit(batch[half:])
        except BaseException as error:
            for each in batch:
                _fail(each, error)
            if not isinstance(error, Exception):
                raise
        else:
            for index, each in enumerate(batch):
                if index in refused:
                    _fail(each, refused[index])
                elif not each.done.done():
                    each.done.set_result(outcome)


def _batches(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Changes by the same author, in the order in which they came. One that expects something of a record comes after those
    that change it."""
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


def _merged(contents: Contents, batch: list[_Waiting], refused: dict[int, RefusedError]) -> Proposal:
    """All that can be done of a batch; what cannot, and why, goes into `refused`, by its place in it."""
    refused.clear()
    made: dict[Key, Put | None] = {}
    expected: dict[Key, int] = {}
    for index, each in enumerate(batch):
        try:
            made[each.key] = each.step(contents, _now(contents, made, each.key))
        except RefusedError as error:
            refused[index] = error
        else:
            expected |= each.expected
    there = {key: put for key, put in made.items() if put is not None}
    return Proposal(batch[0].by, there, frozenset(made.keys() - there.keys()), expected)


def _now(contents: Contents, made: Mapping[Key, Put | None], key: Key) -> Value | None:
    if key in made:
        put = made[key]
        return put.value if put is not None else None
    return contents.records[key].value if key in contents else None


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
