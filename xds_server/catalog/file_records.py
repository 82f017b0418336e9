"""Files as one of the catalogue's origins: what they say becomes revisions, as far as it can be in force beside all else.

A definition in a file that clashes with one of the API is left out, and its last good state stays; everything else of the
files moves on. What is left out is told once, and tried again with every change of either. A change that the guard holds is
held as a whole; the next one of the files takes its place.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.contents import Contents, placed
from xds_server.catalog.errors import InvalidError, NotOwnedError
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import API, GATEWAY, UPSTREAM, Attribution, Key
from xds_server.upstreams.model import Gateway, Placed, Upstream

SOURCE: Final = "files"
SLICE: Final = 100
"""Definitions that are taken before other work on the event loop gets its turn."""
RETRY: Final = 1.0
"""Seconds until a store that could not be written is tried again."""

log = structlog.get_logger("definitions")


class FileRecords:
    """Keeps the records of files in step with what a `FileSource` says."""

    def __init__(self, catalog: Catalog, roots: Sequence[os.PathLike[str] | str]) -> None:
        self._catalog = catalog
        self._roots = tuple(os.fspath(root) for root in roots)
        self._wanted: dict[Key, Put] = {}
        """What the files say."""
        self._pending: set[Key] = set()
        """What of it is not in force: refused or held."""
        self._refused: dict[Key, str] = {}
        self._first = True

    def held(self) -> Definitions | None:
        """What these roots put in force in an earlier run; None when there was none, and the first look must be sound."""
        if not self._catalog.head:
            return None
        held = Definitions()
        for (kind, name), record in self._catalog.contents.records.items():
            path = self._as_given(record.owner)
            if path is None:
                continue
            entry = record.held.entry._replace(origin=path)
            if isinstance(record.value, Upstream):
                held.upstreams[name] = placed(entry, record.value)
            elif isinstance(record.value, Gateway):
                held.gateways[name] = placed(entry, record.value)
            self._wanted[kind, name] = Put(record.held.entry, record.value)
        return held

    async def take(self, change: Change) -> None:
        """Put what the files changed in force. Waits for a store that is lost."""
        touched: set[Key] = set()
        for count, (name, upstream) in enumerate(change.upstreams.items(), 1):
            self._wanted[UPSTREAM, name] = _put(upstream)
            touched.add((UPSTREAM, name))
            if count % SLICE == 0:
                await asyncio.sleep(0)
        for name, gateway in change.gateways.items():
            self._wanted[GATEWAY, name] = _put(gateway)
            touched.add((GATEWAY, name))
        gone = {(UPSTREAM, name) for name in change.removed_upstreams}
        gone |= {(GATEWAY, name) for name in change.removed_gateways}
        for key in gone:
            self._wanted.pop(key, None)
        touched |= gone | self._pending
        if self._first:
            # Of files that are not among the roots any more.
            touched |= {
                key for key, record in self._catalog.contents.records.items() if self._is_of_files(record.owner)
            }
            self._first = False
        await self._commit(touched)
        self._catalog.begin()

    async def retry(self) -> None:
        """Try again what was refused: something else has changed."""
        if self._refused:
            await self._commit(set(self._refused))

    async def _commit(self, keys: set[Key]) -> None:
        refused: dict[Key, str] = {}
        while True:
            edit = self._edit(keys - refused.keys())
            try:
                outcome = await self._catalog.commit(edit)
            except NotOwnedError as error:
                refused[error.key] = str(error)
            except InvalidError as error:
                refused |= {key: "; ".join(p.message for p in problems) for key, problems in error.problems.items()}
            except StoreError:
                await asyncio.sleep(RETRY)
            else:
                self._note(keys, refused, outcome)
                return

    def _edit(self, keys: Iterable[Key]) -> Callable[[Contents], Proposal]:
        def edit(contents: Contents) -> Proposal:
            wanted = {key: self._wanted[key] for key in keys if key in self._wanted}
            gone = {key for key in keys if key not in wanted and self._is_files(contents, key)}
            return Proposal(Attribution(SOURCE, source=SOURCE), wanted, frozenset(gone))

        return edit

    def _note(self, keys: set[Key], refused: dict[Key, str], outcome: Outcome) -> None:
        for key, problem in refused.items():
            if self._refused.get(key) != problem:
                at = self._wanted[key].entry if key in self._wanted else None
                where = {"file": at.origin, "line": at.line} if at is not None else {}
                kept = key in self._catalog.contents
                log.error(
                    "definition.left_out", kind=key[0], name=key[1], **where, problem=problem, last_good_serves=kept
                )
        self._refused = {key: why for key, why in self._refused.items() if key not in keys} | refused
        self._pending = set(self._refused) | (keys if outcome.is_held else set())

    def _as_given(self, origin: str) -> str | None:
        """The path below a root, as the root is written; None for what is below none."""
        if origin == API:
            return None
        for root in self._roots:
            whole = os.path.abspath(root)
            if origin == whole:
                return root
            if origin.startswith(whole + os.sep):
                return os.path.join(root, origin[len(whole) + 1 :])
        return None

    @staticmethod
    def _is_of_files(origin: str) -> bool:
        return origin not in (API, "")

    def _is_files(self, contents: Contents, key: Key) -> bool:
        record = contents.records.get(key)
        return record is not None and self._is_of_files(record.owner)


def _put(definition: Placed[Upstream] | Placed[Gateway]) -> Put:
    return put(definition.value, os.path.abspath(definition.source), definition.line)
