"""Everything in force, taken from the store at a start. Definitions of which it keeps what they became are not even read.

That is kept of those that alone decide it. It is found again by a digest of the definition, with the overrides over it, and
of the program: another version makes everything anew. Whatever is wrong with what is kept, it is made anew as well.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog

from xds_server.catalog import facts
from xds_server.catalog.kept import AnyRecord, Models, Overridden, Record, record
from xds_server.catalog.overrides import TargetOverride, split_name
from xds_server.catalog.store.compiled import Row, StoredCompiled
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import GATEWAY, OVERRIDE, UPSTREAM, Held, Key
from xds_server.catalog.store.store import Committed, Store

KINDS: Final = (UPSTREAM, GATEWAY)

log = structlog.get_logger("catalog")


class Loaded(NamedTuple):
    """What the store holds."""

    head: int
    records: dict[Key, AnyRecord]
    waiting: list[Committed]
    """Revisions that the guard holds."""
    made: dict[Key, bytes]
    """What definitions became, where that is known. The others were read once, and are not held: they may be many."""


class Readymade:
    """What definitions became, in the store. Synchronous."""

    def __init__(self, store: Store, program: bytes) -> None:
        """`program`: stands for all that decides what a definition becomes, beside the definition; 64 bytes at most."""
        self._stored = StoredCompiled(store.engine)
        self._program = program
        self.stale: set[Key] = set()
        """Of what was found, that which belongs to no definition in force as it is."""

    def load(self) -> dict[Key, Row]:
        """All that is kept; nothing where that cannot be read."""
        try:
            return self._stored.load()
        except StoreError as error:
            log.debug("compiled.not_read", problem=str(error))
            return {}

    def keep(self, rows: Mapping[Key, Row | None]) -> None:
        """Keep these for the next start; None: nothing. Raises StoreError."""
        self._stored.keep(rows)

    def row(self, definition: Record[Any] | Overridden, body: bytes) -> Row:
        """What is kept of a definition. `body`: what it became."""
        return Row(self.digest(definition), facts.written(definition.facts), body)

    def digest(self, definition: Record[Any] | Overridden) -> bytes:
        """Stands for a definition and for what decides beside it what it becomes."""
        return blake2b(definition.digest, key=self._program, digest_size=16).digest()


def load(store: Store, recent: Models, readymade: Readymade | None) -> Loaded:
    """Everything in force. `readymade`: None where all is to be read. Raises StoreError."""
    head, held = store.load()
    rows = readymade.load() if readymade is not None else {}
    loaded = Loaded(head, {}, store.held(), {})
    over: dict[str, dict[str, Record[TargetOverride]]] = {}
    for key, each in held.items():
        if key[0] == OVERRIDE:
            loaded.records[key] = there = record(key, each, recent)
            upstream, target = split_name(key[1])
            over.setdefault(upstream, {})[target] = there
    for key, each in held.items():
        if key[0] == OVERRIDE:
            continue
        row = rows.get(key)
        if row is not None and readymade is not None:
            found = _kept(key, each, row, over.get(key[1], {}) if key[0] == UPSTREAM else {}, recent, readymade)
            if found is not None:
                loaded.records[key] = found
                loaded.made[key] = row.body
                del rows[key]
                continue
        loaded.records[key] = record(key, each, recent)
    if readymade is not None:
        readymade.stale = set(rows)
    return loaded


def _kept(
    key: Key, held: Held, row: Row, over: Mapping[str, Record[TargetOverride]], recent: Models, readymade: Readymade
) -> AnyRecord | None:
    """The record that a row was made of; None where it was made of another one."""
    try:
        there: Any = record(key, held, recent, facts=facts.read(json.loads(row.facts)))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    definition = Overridden(there, over, recent) if over else there
    return there if readymade.digest(definition) == row.digest else None
