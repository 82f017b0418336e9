"""The tables of the store, for SQLAlchemy; `migrations` creates them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
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

# Replicas that live; in PostgreSQL only, and not logged there.
replicas = Table(
    "replicas",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("forgotten", Integer, nullable=False),
    Column("alive", DateTime(timezone=True), nullable=False),
)

# What each tells of its part of the fleet: nodes, and how far revisions have come with these. As JSON in UTF-8, whatever the
# encoding of the database; ids of nodes may be longer than an index takes, and hold what no text may.
replica_parts = Table(
    "replica_parts",
    metadata,
    Column("replica", String(32), ForeignKey("replicas.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("replica_parts_by_number", "replica", "number"),
)

# What each definition in force became; not logged in PostgreSQL.
compiled = Table(
    "compiled",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("facts", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)
