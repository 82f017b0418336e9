"""What definitions in force became, beside the catalogue: it spares the next start the making, and may be lost at any time.

A row is believed only when it is whole, and was made of just this definition by just this program: `catalog.readymade`.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Engine, bindparam, delete, insert, select, tuple_

from xds_server.catalog.store.records import Key
from xds_server.catalog.store.tables import compiled
from xds_server.catalog.store.transaction import reading, writing

AT_ONCE: Final = 1_000
"""Rows that are fetched together."""

log = structlog.get_logger("catalog")


class Row(NamedTuple):
    """What is kept of one definition."""

    digest: bytes
    """Of the definition and of the program that made this."""
    facts: str
    """What the catalogue has to know of it."""
    body: bytes
    """What it became."""

    @property
    def checksum(self) -> bytes:
        """Tells a row that was damaged."""
        digest = blake2b(digest_size=8)
        for part in (self.digest, self.facts.encode(), self.body):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.digest()


class StoredCompiled:
    """The rows. Methods raise StoreError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(self) -> dict[Key, Row]:
        """All that are whole."""
        with reading(self._engine, at_length=True) as connection:
            return dict(_whole(connection.execution_options(yield_per=AT_ONCE).execute(select(compiled))))

    def keep(self, rows: Mapping[Key, Row | None]) -> None:
        """Keep these in place of what is there; None: nothing."""
        with writing(self._engine) as connection:
            of_these = tuple_(compiled.c.kind, compiled.c.name).in_([*rows])
            there = dict(_whole(connection.execute(select(compiled).where(of_these))))
            # What is there already is of another replica, or of an earlier run.
            others = {key: row for key, row in rows.items() if row is None or there.get(key) != row}
            if not others:
                return
            of_one = (compiled.c.kind == bindparam("a_kind")) & (compiled.c.name == bindparam("a_name"))
            connection.execute(delete(compiled).where(of_one), [{"a_kind": key[0], "a_name": key[1]} for key in others])
            new_rows = [_values(key, row) for key, row in others.items() if row is not None]
            if new_rows:
                connection.execute(insert(compiled), new_rows)


def _whole(rows: Any) -> Iterator[tuple[Key, Row]]:
    for kind, name, digest, facts, body, checksum in rows:
        row = Row(digest, facts, body)
        if row.checksum == checksum:
            yield (kind, name), row
        else:
            log.debug("compiled.damaged", kind=kind, name=name)


def _values(key: Key, row: Row) -> dict[str, Any]:
    return {"kind": key[0], "name": key[1], **row._asdict(), "checksum": row.checksum}
