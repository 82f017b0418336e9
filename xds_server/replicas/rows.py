"""The words of replicas in the store they share, which is a PostgreSQL. Synchronous, and never under the lock of writers.

Each replica has a row that it touches every few seconds, and one for each node and revision that it tells of. Its words are
numbered: whoever reads asks for what has a higher number than what it read last. The clock is the database's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError

from xds_server.catalog.store.engine import StoreError, reason
from xds_server.catalog.store.tables import replica_parts, replicas
from xds_server.catalog.store.transaction import reading
from xds_server.fleet import words
from xds_server.fleet.words import Key, Word
from xds_server.replicas.words import Answer, Heard

_AGE = func.extract("epoch", func.clock_timestamp() - replicas.c.alive)
_AWAKE = func.extract("epoch", func.clock_timestamp() - func.pg_postmaster_start_time())


class ForgottenError(StoreError):
    """The store does not know this replica, or not its last word: all is to be told anew."""


def exchange(
    engine: Engine, me: str, word: Word | None, known: Mapping[str, int], *, gone_after: float, void_after: float
) -> Answer:
    """Say a word, if there is one, and hear what is new.

    `known`: by id, the number of the last word that was heard of another replica. `gone_after`: seconds of silence after which
    one is dead; `void_after`: after which what it said is taken away. Raises StoreError, and ForgottenError when the word was
    not taken.
    """
    if word is not None:
        with _writing(engine) as connection:
            _say(connection, me, word)
    with reading(engine) as connection:
        rows = connection.execute(select(replicas, _AGE.label("age"), _AWAKE.label("awake"))).all()
        own = next((row.number for row in rows if row.id == me), None)
        awake = float(rows[0].awake) if rows else 0.0
        alive = [row for row in rows if row.id != me and row.age <= gone_after]
        others = {row.id: _heard(connection, row, known.get(row.id, 0)) for row in alive}
    if any(row.age > void_after for row in rows):
        with _writing(engine) as connection:
            _clean(connection, void_after)
    return Answer(own, awake, others)


def leave(engine: Engine, me: str) -> None:
    """Take away all that was said. Raises StoreError."""
    with _writing(engine) as connection:
        connection.execute(delete(replicas).where(replicas.c.id == me))


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """Beside all others: nobody writes the rows of another replica."""
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StoreError(f"the store cannot be written: {reason(error)}") from None


def _say(connection: Connection, me: str, word: Word) -> None:
    values = {
        "name": word.name,
        "number": word.number,
        "delivered": word.delivered,
        "forgotten": word.forgotten,
        "alive": func.clock_timestamp(),
    }
    if word.before is None:
        connection.execute(delete(replicas).where(replicas.c.id == me))
        connection.execute(insert(replicas).values(id=me, **values))
    else:
        known = (replicas.c.id == me) & (replicas.c.number == word.before)
        if connection.execute(update(replicas).where(known).values(values)).rowcount == 0:
            raise ForgottenError("the store does not know what this replica told of its Envoys last")
    if word.gone:
        of_key = (replica_parts.c.kind == bindparam("a_kind")) & (replica_parts.c.key == bindparam("a_key"))
        gone = [{"a_kind": kind, "a_key": key} for kind, key in word.gone]
        connection.execute(delete(replica_parts).where(replica_parts.c.replica == me, of_key), gone)
    if rows := [_row(me, word.number, key, body) for key, body in words.bodies(word).items()]:
        new = upsert(replica_parts)
        changed = {"number": new.excluded.number, "body": new.excluded.body}
        connection.execute(new.on_conflict_do_update(index_elements=[*replica_parts.primary_key], set_=changed), rows)


def _row(me: str, number: int, key: Key, body: bytes) -> dict[str, object]:
    return {"replica": me, "kind": key[0], "key": key[1], "number": number, "body": body}


def _heard(connection: Connection, row: Any, known: int) -> Heard:
    bodies: dict[str, list[bytes]] = {words.NODE: [], words.ROLLOUT: []}
    if row.number > known:
        of_it = (replica_parts.c.replica == row.id) & (replica_parts.c.number > known)
        wanted = select(replica_parts.c.kind, replica_parts.c.body).where(of_it).order_by(replica_parts.c.number)
        for kind, body in connection.execute(wanted):
            bodies.setdefault(kind, []).append(body)
    nodes = [words.node(body) for body in bodies[words.NODE]]
    rollouts = [words.rollout(body) for body in bodies[words.ROLLOUT]]
    return Heard(
        name=row.name,
        number=row.number,
        delivered=row.delivered,
        forgotten=row.forgotten,
        nodes=[each for each in nodes if each is not None],
        rollouts=[each for each in rollouts if each is not None],
        unreadable=nodes.count(None) + rollouts.count(None),
    )


def _clean(connection: Connection, void_after: float) -> None:
    """Of those that are dead. A row that somebody is at already is left to them."""
    silent = select(replicas.c.id).where(void_after < _AGE).with_for_update(skip_locked=True)
    connection.execute(delete(replicas).where(replicas.c.id.in_(silent)))
