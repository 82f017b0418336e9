"""The store: every revision of the catalogue and every state that it ever had, in SQL. Synchronous; no policy lives here.

A commit is one transaction: the revision, what it changed, and what is in force from then on. It is made on top of a known
revision, and refused when another writer was faster, so that nothing is ever decided on a state that is not the newest.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, or_, select, text, update

from xds_server.catalog.store.engine import StoreError, is_sqlite, open_engine
from xds_server.catalog.store.records import Attribution, Change, Changes, Entry, Held, Key, Outline, Revision, State
from xds_server.catalog.store.retention import forget
from xds_server.catalog.store.tables import changes, current, revisions
from xds_server.catalog.store.transaction import reading, writing

CHANNEL: Final = "xds_server"
"""On which PostgreSQL tells replicas of each commit."""


class BehindError(Exception):
    """Another writer committed first: read what it did, and decide anew."""


class Committed(NamedTuple):
    """A revision with all that it changed."""

    revision: Revision
    changes: Changes


_WAS_APPLIED: Final = or_(revisions.c.state.is_(None), revisions.c.state == "applied")
"""Of revisions that are forgotten, only what was applied is left."""

# What each commit says. Made once: SQLAlchemy takes longer to make a statement than SQLite to carry it out.
_NEWEST: Final = select(func.max(revisions.c.number))
_ADD_REVISION: Final = insert(revisions)
_ADD_CHANGES: Final = insert(changes)
_PUT_IN_FORCE: Final = insert(current)
_TAKE_OUT: Final = delete(current).where(current.c.kind == bindparam("a_kind"), current.c.name == bindparam("a_name"))


class Store:
    """An open database. Methods raise StoreError when it cannot be reached or written; then nothing was.

    Each answers within some seconds, whatever becomes of PostgreSQL, as far as its server and the network can tell;
    who must not wait for one that merely stands still has the methods called in a thread, and gives up on it.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    @property
    def engine(self) -> Engine:
        """For what else is kept in the same database."""
        return self._engine

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it as well."""
        return not is_sqlite(self._engine)

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    # Reading

    def head(self) -> int:
        """Number of the newest revision; 0 for none."""
        with reading(self._engine) as connection:
            return _head(connection)

    def load(self) -> tuple[int, dict[Key, Held]]:
        """Everything in force, and the revision as of which it is."""
        joined = select(changes).join(
            current,
            and_(
                changes.c.kind == current.c.kind,
                changes.c.name == current.c.name,
                changes.c.revision == current.c.revision,
            ),
        )
        with reading(self._engine, at_length=True) as connection:
            rows = connection.execute(joined)
            return _head(connection), {(row.kind, row.name): Held(_entry(row), row.revision) for row in rows}

    def since(self, number: int, most: int = 100) -> list[Committed]:
        """The revisions after `number`, oldest first, `most` at a time. Those that are forgotten are not among them."""
        wanted = select(revisions).where(revisions.c.number > number).order_by(revisions.c.number).limit(most)
        with reading(self._engine) as connection:
            rows = connection.execute(wanted).all()
            made = _all_changes(connection, rows[0].number, rows[-1].number) if rows else {}
            return [Committed(_revision(row), made.get(row.number, {})) for row in rows]

    def outlines(self, number: int, *, most: int, names: int) -> list[Outline]:
        """The revisions after `number` as `since` has them, with at most `names` of what each changed and no document."""
        wanted = select(revisions).where(revisions.c.number > number).order_by(revisions.c.number).limit(most)
        with reading(self._engine) as connection:
            return [_outline(connection, _revision(row), names) for row in connection.execute(wanted).all()]

    def revision(self, number: int) -> Committed | None:
        """One revision; None where there is none (any more)."""
        with reading(self._engine) as connection:
            return _committed(connection, number)

    def revisions(self, *, before: int | None = None, most: int = 100, state: State | None = None) -> list[Revision]:
        """Revisions from the newest back, those before the number `before`."""
        wanted = select(revisions).order_by(revisions.c.number.desc()).limit(most)
        if before is not None:
            wanted = wanted.where(revisions.c.number < before)
        if state is not None:
            wanted = wanted.where(revisions.c.state == state)
        with reading(self._engine) as connection:
            return [_revision(row) for row in connection.execute(wanted)]

    def held(self) -> list[Committed]:
        """The revisions that the guard holds, oldest first."""
        wanted = select(revisions).where(revisions.c.state == "held").order_by(revisions.c.number)
        with reading(self._engine) as connection:
            rows = connection.execute(wanted).all()
            return [Committed(_revision(row), _changes(connection, row.number)) for row in rows]

    def oldest(self) -> int:
        """Number of the oldest revision that is kept; 0 for none."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.min(revisions.c.number))).scalar() or 0

    def earlier(self, key: Key, number: int, most: int) -> list[Entry]:
        """What a record was before revision `number`, newest first, as far as that is kept: at most `most` versions."""
        wanted = (
            select(changes)
            .outerjoin(revisions, revisions.c.number == changes.c.revision)
            .where(changes.c.kind == key[0], changes.c.name == key[1], changes.c.revision < number)
            .where(changes.c.document.is_not(None), _WAS_APPLIED)
            .order_by(changes.c.revision.desc())
            .limit(most)
        )
        with reading(self._engine) as connection:
            return [_entry(row) for row in connection.execute(wanted)]

    def state_at(self, number: int) -> dict[Key, Held]:
        """What was in force as of revision `number`, which must be one that is kept."""
        applied = (
            select(changes.c.kind, changes.c.name, func.max(changes.c.revision).label("revision"))
            .outerjoin(revisions, revisions.c.number == changes.c.revision)
            .where(changes.c.revision <= number, _WAS_APPLIED)
            .group_by(changes.c.kind, changes.c.name)
            .subquery()
        )
        wanted = (
            select(changes)
            .join(
                applied,
                and_(
                    changes.c.kind == applied.c.kind,
                    changes.c.name == applied.c.name,
                    changes.c.revision == applied.c.revision,
                ),
            )
            .where(changes.c.action != "removed")
        )
        with reading(self._engine, at_length=True) as connection:
            rows = connection.execute(wanted)
            return {(row.kind, row.name): Held(_entry(row), row.revision) for row in rows}

    # Writing

    def commit(
        self,
        revision: Revision,
        made: Changes,
        *,
        mark: Mapping[int, State] | None = None,
        may_commit: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write a revision, whose number must be the next one. `mark`: earlier revisions whose state changes with it.
        `may_commit`: asked once all is written but the commit itself; when it says no, nothing is.

        Raises BehindError when the number is not the next one, and InDoubtError: `settle` says then what became of it.
        """
        with writing(self._engine) as connection:
            if _head(connection) != revision.number - 1:
                raise BehindError
            connection.execute(_ADD_REVISION, _row_of(revision))
            rows = [{"revision": revision.number, **_change_row(key, change)} for key, change in made.items()]
            if rows:
                connection.execute(_ADD_CHANGES, rows)
            if revision.state == "applied":
                _put_in_force(connection, revision.number, made)
            for number, new in (mark or {}).items():
                connection.execute(update(revisions).where(revisions.c.number == number).values(state=new))
            if self.is_shared:
                connection.execute(select(func.pg_notify(CHANNEL, str(revision.number))))
            if not may_commit():
                raise StoreError("the store cannot be written: it took too long")

    def settle(self, revision: Revision, made: Changes) -> bool:
        """Whether a commit that was in doubt has been made: as nobody else writes at this moment, it will not be later."""
        with writing(self._engine) as connection:
            return _committed(connection, revision.number) == Committed(revision, made)

    def check(self) -> None:
        """Find out whether it can be written, by writing what is there already: a full disk takes anything less."""
        with writing(self._engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))

    def prune(self, *, keep: int, newer_than: datetime) -> int:
        """Forget the revisions beyond the last `keep`, and those that are not newer than a time; returns how many.

        The newest stays in any case, and so does all that the states need which can still be gone back to.
        """
        forgotten = 0
        aged = select(func.max(revisions.c.number)).where(revisions.c.time < newer_than)
        while True:
            with writing(self._engine, at_length=True) as connection:
                head = _head(connection)
                horizon = min(max(head - keep, connection.execute(aged).scalar() or 0), head - 1)
                count = forget(connection, horizon)
            if count == 0:
                return forgotten
            forgotten += count


def _head(connection: Connection) -> int:
    return connection.execute(_NEWEST).scalar() or 0


def _put_in_force(connection: Connection, number: int, made: Changes) -> None:
    keys = [{"a_kind": kind, "a_name": name} for kind, name in made]
    if not keys:
        return
    connection.execute(_TAKE_OUT, keys)
    there = [
        {"kind": kind, "name": name, "revision": number}
        for (kind, name), change in made.items()
        if change.entry is not None
    ]
    if there:
        connection.execute(_PUT_IN_FORCE, there)


def _entry(row: Any) -> Entry:
    return Entry(row.origin, row.line, row.document)


def _committed(connection: Connection, number: int) -> Committed | None:
    row = connection.execute(select(revisions).where(revisions.c.number == number)).first()
    return Committed(_revision(row), _changes(connection, number)) if row is not None else None


def _changes(connection: Connection, number: int) -> dict[Key, Change]:
    return _all_changes(connection, number, number).get(number, {})


def _all_changes(connection: Connection, first: int, last: int) -> dict[int, dict[Key, Change]]:
    """What the revisions from `first` to `last` changed."""
    wanted = select(changes).where(changes.c.revision.between(first, last))
    found: dict[int, dict[Key, Change]] = {}
    for row in connection.execute(wanted.order_by(changes.c.revision, changes.c.kind, changes.c.name)):
        change = Change(row.action, _entry(row) if row.document is not None else None)
        found.setdefault(row.revision, {})[row.kind, row.name] = change
    return found


def _outline(connection: Connection, revision: Revision, names: int) -> Outline:
    of_it = changes.c.revision == revision.number
    count = connection.execute(select(func.count()).select_from(changes).where(of_it)).scalar() or 0
    named = select(changes.c.kind, changes.c.name, changes.c.action).where(of_it)
    first = connection.execute(named.order_by(changes.c.kind, changes.c.name).limit(names))
    return Outline(revision, {(row.kind, row.name): row.action for row in first}, count)


def _change_row(key: Key, change: Change) -> dict[str, Any]:
    origin, line, document = change.entry if change.entry is not None else (None, None, None)
    return {
        "kind": key[0],
        "name": key[1],
        "action": change.action,
        "origin": origin,
        "line": line,
        "document": document,
    }


def _revision(row: Any) -> Revision:
    by = Attribution(row.author, row.message, row.client, row.source)
    return Revision(row.number, row.time, by, row.state, row.refers_to, row.note)


def _row_of(revision: Revision) -> dict[str, Any]:
    by = revision.by
    return {
        "number": revision.number,
        "time": revision.time,
        "author": by.author,
        "message": by.message,
        "client": by.client,
        "source": by.source,
        "state": revision.state,
        "refers_to": revision.refers_to,
        "note": revision.note,
    }
