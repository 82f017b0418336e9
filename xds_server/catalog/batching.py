"""Changes of single records at a high rate: those that come within a moment share a commit.

A commit waits for the disk, and each revision for its delivery, so that a revision for each of 500 updates a second would be
more than there is to tell. A change that stands alone is committed at once.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from xds_server.catalog.catalog import Catalog, Edit, Outcome
from xds_server.catalog.contents import Contents
from xds_server.catalog.errors import RefusedError
from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.records import Attribution, Key

PAUSE: Final = 0.05
"""Seconds between two commits."""


class _Waiting(NamedTuple):
    key: Key
    by: Attribution
    edit: Edit
    done: "asyncio.Future[Outcome]"


class Batches:
    """Commits changes of single records, at most one revision in `PAUSE` for each author who says the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    async def commit(self, key: Key, by: Attribution, edit: Edit) -> Outcome:
        """As `Catalog.commit` for a change of the record `key` alone."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Waiting(key, by, edit, done))
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
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for each in batch:  # one that cannot be must not take the others with it
                await self._commit([each])
        except BaseException as error:
            for each in batch:
                _fail(each, error)
            if not isinstance(error, Exception):
                raise
        else:
            for each in batch:
                if not each.done.done():
                    each.done.set_result(outcome)


def _batches(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Changes of different records by the same author, in the order in which they came."""
    batch: list[_Waiting] = []
    keys: set[Key] = set()
    for each in waiting:
        if batch and (each.by != batch[0].by or each.key in keys):
            yield batch
            batch, keys = [], set()
        batch.append(each)
        keys.add(each.key)
    if batch:
        yield batch


def _merged(contents: Contents, batch: list[_Waiting]) -> Proposal:
    proposals = [each.edit(contents) for each in batch]
    return Proposal(
        batch[0].by,
        {key: put for proposal in proposals for key, put in proposal.put.items()},
        frozenset(key for proposal in proposals for key in proposal.remove),
        {key: expected for proposal in proposals for key, expected in proposal.expected.items()},
    )


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
