"""Opens a database: SQLite, the embedded default, or PostgreSQL; and brings its tables to this version of the program."""

from importlib import resources
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

MIGRATION_LOCK: Final = 0x7864_7301
WRITE_LOCK: Final = 0x7864_7302
"""Keys of PostgreSQL's advisory locks."""
BUSY: Final = 10
"""Seconds that a writer waits for another process to be done with the file (SQLite)."""
CONNECT: Final = 5
"""Seconds within which PostgreSQL must take a connection."""


class StoreError(Exception):
    """The store cannot be opened or used; its text says why and what to do."""


def open_engine(url: str) -> Engine:
    """Connect, and bring the tables up to date. Raises StoreError."""
    parsed = _parsed(url)
    try:
        engine = _engine(parsed)
        with engine.begin() as connection:
            _migrate(connection)
    except SQLAlchemyError as error:
        raise StoreError(
            f"the store {parsed.render_as_string(hide_password=True)} cannot be opened: {reason(error)}"
        ) from None
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
        raise StoreError(f"{url!r} is not a store: write sqlite:///FILE or postgresql://USER@HOST/DATABASE") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and not Path(parsed.database).parent.is_dir():
            raise StoreError(
                f"the store {parsed.database} cannot be opened: there is no directory {Path(parsed.database).parent}"
            )
        return parsed
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"a store is sqlite:///FILE or postgresql://USER@HOST/DATABASE, not {parsed.drivername}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY, "check_same_thread": False})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT})
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StoreError("PostgreSQL needs the extra: pip install 'xds-server[postgres]'") from None


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
    config = Config()
    with resources.as_file(resources.files("xds_server.catalog.store") / "migrations") as scripts:
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_newer(connection: Connection, known: ScriptDirectory) -> None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return
    there = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if there is not None and there not in {script.revision for script in known.walk_revisions()}:
        raise StoreError(
            f"the store was written by a newer xds-server (its tables are at {there}): use that one, or another store"
        )
