"""What is forgotten of the catalogue's past, and what must stay of it."""

from sqlalchemy import Connection, delete, exists, select

from xds_server.catalog.store.tables import changes, revisions


def forget(connection: Connection, horizon: int) -> int:
    """Forget the revisions up to number `horizon`; returns how many. Of what they changed, the last word on each record stays:
    it is part of every state that can still be gone back to."""
    if horizon <= 0:
        return 0
    old = changes.c.revision <= horizon
    never_applied = select(revisions.c.number).where(revisions.c.number <= horizon, revisions.c.state != "applied")
    connection.execute(delete(changes).where(changes.c.revision.in_(never_applied)))
    newer = changes.alias("newer")
    overtaken = exists().where(
        newer.c.kind == changes.c.kind,
        newer.c.name == changes.c.name,
        newer.c.revision > changes.c.revision,
        newer.c.revision <= horizon,
    )
    connection.execute(delete(changes).where(old, overtaken))
    connection.execute(delete(changes).where(old, changes.c.action == "removed"))
    return connection.execute(delete(revisions).where(revisions.c.number <= horizon)).rowcount
