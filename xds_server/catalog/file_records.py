"""Files as one of the catalogue's origins: what they say becomes revisions, as far as it can be in force beside all else.

A definition in a file that clashes with one of the API is left out, and its last good state stays; everything else of the
files moves on. What is left out is told once, and tried again with every change of either. A change that the guard holds is
held as a whole; the next one of the files takes its place.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from xds_server.catalog.catalog import Catalog, Edit, Outcome
from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.contents import Contents
from xds_server.catalog.errors import InvalidError
from xds_server.catalog.kept import AnyRecord, Record, record
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import API, FILES, GATEWAY, UPSTREAM, Attribution, Held, Key
from xds_server.upstreams.model import Gateway, Located, Upstream

SLICE: Final = 100
"""Definitions that are taken before other work on the event loop gets its turn."""
RETRY: Final = 1.0
"""Seconds until a store that could not be written is tried again."""
BY: Final = Attribution(FILES, source=FILES)

log = structlog.get_logger("definitions")


class FileRecords:
    """Keeps the records of the files below `roots` in step with what a `FileSource` says."""

    def __init__(self, catalog: Catalog, roots: Sequence[str]) -> None:
        self._catalog = catalog
        self._roots = tuple(roots)
        self._wanted: dict[Key, AnyRecord] = {}
        """What the files say."""
        self._pending: set[Key] = set()
        """What of it is not in force: refused or held."""
        self._refused: dict[Key, str] = {}
        self._is_first = True
        self._has_strangers = True
        """Whether there may be records of files that are not below the roots any more."""
        self._turn = asyncio.Lock()

    def held(self) -> Definitions | None:
        """What these roots put in force in an earlier run; None when that was nothing, and the first look must be sound."""
        for key, there in self._catalog.contents.records.items():
            if as_given(self._roots, there.owner) is not None:
                self._wanted[key] = there
        return self.said() if self._wanted else None

    def said(self) -> Definitions:
        """What the files say, each definition with its path as the root is written."""
        said = Definitions()
        for (kind, name), wanted in self._wanted.items():
            path = as_given(self._roots, wanted.owner)
            held = wanted.held._replace(entry=wanted.held.entry._replace(origin=path or wanted.owner))
            found: Any = Record(kind, held, wanted.facts, self._catalog.contents.recent)
            if kind == UPSTREAM:
                said.upstreams[name] = found
            else:
                said.gateways[name] = found
        return said

    async def take(self, change: Change, *, is_sound: bool) -> None:
        """Put what the files changed in force. Waits for a store that is lost. `is_sound`: nothing is wrong with any file or
        root; before that, nothing of another root is taken away, as it may have moved to one that is still missing."""
        touched: set[Key] = set()
        for count, (name, upstream) in enumerate(change.upstreams.items(), 1):
            self._want((UPSTREAM, name), _put(upstream))
            touched.add((UPSTREAM, name))
            if count % SLICE == 0:
                await asyncio.sleep(0)
        for name, gateway in change.gateways.items():
            self._want((GATEWAY, name), _put(gateway))
            touched.add((GATEWAY, name))
        gone = {(UPSTREAM, name) for name in change.removed_upstreams}
        gone |= {(GATEWAY, name) for name in change.removed_gateways}
        for key in gone:
            self._wanted.pop(key, None)
        touched |= gone
        if is_sound and self._has_strangers:
            self._has_strangers = False
            touched |= {key for key in self._catalog.contents.records if _is_of_files(self._catalog.contents, key)}
        await self._commit(touched)

    def _want(self, key: Key, wanted: Put) -> None:
        self._wanted[key] = record(key, Held(wanted.entry, 0), self._catalog.contents.recent, wanted.value)

    async def retry(self) -> None:
        """Try again what was refused: something else has changed."""
        if self._refused:
            await self._commit(set())

    async def _commit(self, touched: set[Key]) -> None:
        async with self._turn:
            keys = touched | self._pending
            refused: dict[Key, str] = {}
            while True:
                others: dict[Key, str] = {}
                try:
                    outcome = await self._catalog.commit(self._edit(keys - refused.keys(), others))
                except InvalidError as error:
                    refused |= self._blamed(error, keys - refused.keys())
                    if self._is_first and not self._catalog.has_begun and self._leads_nowhere(refused):
                        log.error("definitions.not_served", problem="nothing is served until this is in order once")
                        self._tell(refused)
                        self._pending = keys
                        return
                except StoreError:
                    await asyncio.sleep(RETRY)
                else:
                    self._note(keys, refused | others, outcome)
                    return

    def _leads_nowhere(self, refused: dict[Key, str]) -> bool:
        """Whether a gateway names an upstream that nobody has defined yet: what a new store would serve without it is a partial
        answer, and Envoys that hold it would drop it."""
        wanted = (self._wanted[key].facts for key in refused if key in self._wanted)
        named = {facts.upstream for facts in wanted if facts.upstream is not None}
        return any(
            (UPSTREAM, name) not in self._wanted and (UPSTREAM, name) not in self._catalog.contents for name in named
        )

    def _edit(self, keys: set[Key], others: dict[Key, str]) -> Edit:
        """`others`: takes what belongs to another origin, and why it is left out."""

        def edit(contents: Contents) -> Proposal:
            others.clear()
            others.update((key, _not_ours(key)) for key in keys if key in self._wanted and _is_of_api(contents, key))
            said = {key: self._wanted[key] for key in keys - others.keys() if key in self._wanted}
            wanted = {key: Put(each.held.entry, each.value) for key, each in said.items()}
            gone = {key for key in keys - wanted.keys() if _is_of_files(contents, key)}
            # The first time even nothing is news: so it is known that these files were heard.
            is_news = self._is_first and not self._catalog.has_begun
            return Proposal(BY, wanted, frozenset(gone), is_news=is_news)

        return edit

    def _blamed(self, error: InvalidError, keys: set[Key]) -> dict[Key, str]:
        """Which of `keys` cannot be as the files want it. What clashes with them may be of the API: a gateway, say, whose
        upstream a file would take away."""
        found: dict[Key, str] = {}
        for key, problems in error.problems.items():
            there = self._catalog.contents.records.get(key)
            if key in keys:
                found[key] = "; ".join(problem.message for problem in problems)
            elif there is not None and there.facts.upstream is not None:
                needed = (UPSTREAM, there.facts.upstream)
                found |= dict.fromkeys({needed} & keys, f"gateway {key[1]!r} of {_owner(there.owner)} forwards to it")
        return found or dict.fromkeys(keys, str(error))

    def _note(self, keys: set[Key], refused: dict[Key, str], outcome: Outcome) -> None:
        self._is_first = False
        self._tell(refused)
        self._pending = set(refused) | (keys if outcome.is_held else set())

    def _tell(self, refused: dict[Key, str]) -> None:
        """Say of each definition once that it is left out, and why."""
        for key, problem in refused.items():
            if self._refused.get(key) != problem:
                at = self._wanted[key].held.entry if key in self._wanted else None
                where = {"file": at.origin, "line": at.line} if at is not None else {}
                kept = key in self._catalog.contents
                log.error(
                    "definition.left_out", kind=key[0], name=key[1], **where, problem=problem, last_good_serves=kept
                )
        self._refused = refused


def as_given(roots: Sequence[str], origin: str) -> str | None:
    """The path of a file below a root, as the root is written; None for what is below none."""
    if origin == API:
        return None
    for root in roots:
        whole = os.path.abspath(root)
        if origin == whole:
            return root
        if origin.startswith(whole + os.sep):
            return str(Path(root, origin[len(whole) + 1 :]))
    return None


def _put(definition: Located[Upstream] | Located[Gateway]) -> Put:
    # No database takes the bytes of a path that is not UTF-8.
    origin = os.fsencode(os.path.abspath(definition.source)).decode(errors="backslashreplace")
    return put(definition.value, origin, definition.line)


def _is_of_api(contents: Contents, key: Key) -> bool:
    there = contents.records.get(key)
    return there is not None and there.owner == API


def _is_of_files(contents: Contents, key: Key) -> bool:
    """Overrides are nobody's but the API's."""
    there = contents.records.get(key)
    return there is not None and there.owner != API


def _not_ours(key: Key) -> str:
    return f"{key[0]} {key[1]!r} is defined through the API: delete it there first, or take it out of this file"


def _owner(origin: str) -> str:
    return "the API" if origin == API else origin
