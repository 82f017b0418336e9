"""The tables of the store, for SQLAlchemy; `migrations` creates them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no zone, so what is stored is always UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None else None


metadata = MetaData()

revisions = Table(
    "revisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", UtcTime, nullable=False, index=True),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("refers_to", Integer),
    Column("note", Text, nullable=False),
)

# No foreign key: what a forgotten revision changed may be in force for years.
changes = Table(
    "changes",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("action", String(16), nullable=False),
    Column("origin", Text),
    Column("line", Integer),
    Column("document", Text),
    Index("changes_by_record", "kind", "name", "revision"),
)

# Which change made each record what it is. Beside it nothing is stored twice.
current = Table(
    "current",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("revision", Integer, nullable=False, index=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("hash", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("author", Text, nullable=False),
)

# Without their hashes: nobody is let in by them any more.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("author", Text, nullable=False),
    Column("revoked", UtcTime, nullable=False),
    Column("revoked_by", Text, nullable=False),
)
