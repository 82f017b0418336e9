"""What is forgotten of the catalogue's past, and what must stay of it."""

from typing import Final

from sqlalchemy import Connection, delete, exists, func, select, tuple_

from xds_server.catalog.store.tables import changes, revisions

STEP: Final = 500
"""Revisions that are forgotten in one transaction: writers wait meanwhile."""


def forget(connection: Connection, horizon: int) -> int:
    """Forget the oldest revisions, up to number `horizon` and `STEP` of them; returns how many.

    Of what they changed, the last word on each record stays: it is part of every state that can still be gone back to.
    """
    first = connection.execute(select(func.min(revisions.c.number))).scalar()
    if first is None or first > horizon:
        return 0
    last = min(horizon, first + STEP - 1)
    these = changes.c.revision.between(first, last)
    never_applied = select(revisions.c.number).where(
        revisions.c.number.between(first, last), revisions.c.state != "applied"
    )
    connection.execute(delete(changes).where(changes.c.revision.in_(never_applied)))
    newer = changes.alias("newer")
    touched = select(newer.c.kind, newer.c.name).where(newer.c.revision.between(first, last))
    overtaken = exists().where(
        newer.c.kind == changes.c.kind,
        newer.c.name == changes.c.name,
        newer.c.revision > changes.c.revision,
        newer.c.revision <= last,
    )
    of_touched = tuple_(changes.c.kind, changes.c.name).in_(touched)
    connection.execute(delete(changes).where(of_touched, changes.c.revision <= last, overtaken))
    connection.execute(delete(changes).where(these, changes.c.action == "removed"))
    return connection.execute(delete(revisions).where(revisions.c.number.between(first, last))).rowcount
