"""Opens a database: SQLite, the embedded default, or PostgreSQL; and brings its tables to this version of the program."""

import os
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from xds_server.catalog.store import postgres

BUSY: Final = 3
"""Seconds that a writer waits for another process to be done with the file (SQLite)."""
FORMS: Final = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


class StoreError(Exception):
    """The store cannot be opened or used; its text says why and what to do. Nothing was written."""


class InDoubtError(StoreError):
    """A commit was on its way when the store failed or fell silent: nobody can say yet whether it was made."""


def open_engine(url: str) -> Engine:
    """Connect, and bring the tables up to date. Raises StoreError."""
    parsed = _parsed(url)
    engine = _engine(parsed)
    try:
        with engine.begin() as connection:
            _migrate(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        # Without its options, any of which may be a password.
        shown = parsed.set(drivername=parsed.get_backend_name(), query={}).render_as_string(hide_password=True)
        raise StoreError(f"the store {shown} cannot be opened: {reason(error)}") from None
    except StoreError:
        engine.dispose()
        raise
    return engine


def reason(error: Exception) -> str:
    """The database's own words, in one line: without the statement and its parameters, which may hold secrets."""
    text = str(getattr(error, "orig", None) or error).strip()
    return " ".join(text.split())


def is_sqlite(engine: Engine) -> bool:
    """Whether the store is a file that this process alone writes."""
    return engine.dialect.name == "sqlite"


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(f"the store is not an address: write {FORMS}") from None  # without it: it may hold a password
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or ":memory:" in parsed.database:
            raise StoreError("a store is kept in a file: write sqlite:///FILE (sqlite:////FILE for an absolute path)")
        if not Path(parsed.database).parent.is_dir():
            raise StoreError(
                f"the store {parsed.database} cannot be opened: there is no directory {Path(parsed.database).parent}"
            )
        return parsed
    if "@" in (parsed.host or ""):  # then a part of the password would be told as the host's name
        raise StoreError(
            "the store's address has an @ too many: write the one in the password as %40, or set PGPASSWORD"
        )
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"a store is {FORMS}, not {parsed.drivername}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        _keep_private(url)
        engine = create_engine(url, connect_args={"timeout": BUSY, "check_same_thread": False})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=postgres.CONNECTION)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StoreError("PostgreSQL needs the extra: pip install 'xds-server[postgres]'") from None
    event.listen(engine, "connect", postgres.set_up)
    return engine


def _keep_private(url: URL) -> None:
    """Make the file before SQLite does, which lets everybody on this machine read it."""
    if url.database and not url.query:
        with suppress(OSError):  # it is there, or why it cannot be is told when it is opened
            os.close(os.open(url.database, os.O_CREAT | os.O_EXCL, 0o600))


def _set_up_sqlite(connection: Any, _: object) -> None:
    """A commit is on the disk before it is answered, and readers do not wait for the writer."""
    connection.isolation_level = None  # we say BEGIN ourselves: the driver would only before it writes
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(connection: Connection) -> None:
    with resources.as_file(resources.files("xds_server.catalog.store") / "migrations") as scripts:
        known = sorted(path.name.partition("_")[0] for path in (scripts / "versions").glob("[0-9]*.py"))
        if _version(connection) == known[-1]:
            return
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {postgres.MIGRATION * 1000}")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {postgres.MIGRATION * 1000}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.MIGRATION_LOCK})")
        there = _version(connection)
        if there is not None and there not in known:
            raise StoreError(
                f"the store was written by a newer xds-server (its tables are at {there}): use that one, or another store"
            )
        _upgrade(connection, scripts)


def _version(connection: Connection) -> str | None:
    """Of the tables; None where there are none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version


def _upgrade(connection: Connection, scripts: Path) -> None:
    # Imported when it is needed, as it takes a third of a second.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
