"""Writes one revision, and knows afterwards whether it was written, even of a store that falls silent in the middle.

Whoever gives up waiting and the thread that is about to commit take the same lock, once: either the commit goes out, or it
never will. Where it went out and no answer came, the store is asked what became of it.
"""

from functools import partial
from threading import Lock
from typing import Final

from xds_server.catalog.calls import PATIENCE, Calls, SilentError
from xds_server.catalog.store.engine import InDoubtError, StoreError
from xds_server.catalog.store.records import Changes, Revision, State
from xds_server.catalog.store.store import Store

SETTLING: Final = 2.0
"""Seconds for finding out what became of a commit."""
ROWS: Final = 2000
"""Changes for which a second more is waited."""


async def write(calls: Calls, store: Store, revision: Revision, made: Changes, mark: dict[int, State]) -> None:
    """Make `revision` durable. `mark`: earlier revisions whose state changes with it.

    Raises BehindError and StoreError, when it was not written and will not be, and InDoubtError when nobody can say.
    """
    permit = Lock()

    def first() -> bool:
        return permit.acquire(blocking=False)

    commit = partial(store.commit, revision, made, mark=mark, may_commit=first)
    try:
        await calls(commit, patience=PATIENCE + len(made) / ROWS)
    except SilentError as error:
        if first():
            raise
        await _settle(calls, store, revision, made, error)
    except InDoubtError as error:
        await _settle(calls, store, revision, made, error)


async def _settle(calls: Calls, store: Store, revision: Revision, made: Changes, error: StoreError) -> None:
    try:
        was_made = await calls(store.settle, revision, made, patience=SETTLING)
    except StoreError:
        raise InDoubtError(
            f"{error}; whether revision {revision.number} was made will be in the history once the store is back"
        ) from None
    if not was_made:
        raise StoreError(str(error)) from None
