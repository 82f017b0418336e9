"""One transaction on the store, whose errors are words for operators."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from xds_server.catalog.store.engine import InDoubtError, StoreError, is_sqlite, reason
from xds_server.catalog.store.postgres import MIGRATION, WRITE_LOCK

_ONE_MOMENT: Final = {"isolation_level": "REPEATABLE READ"}
"""PostgreSQL shows each statement what is newest, but what is read together must be of one revision."""


@contextmanager
def reading(engine: Engine, *, at_length: bool = False) -> Iterator[Connection]:
    """A connection for the block, which sees the store as of one moment. Raises StoreError.

    `at_length`: what is asked may take PostgreSQL up to a minute.
    """
    options = {} if is_sqlite(engine) else _ONE_MOMENT
    try:
        with engine.connect().execution_options(writes=False, **options) as connection, connection.begin():
            _allow(connection, at_length=at_length)
            yield connection
    except SQLAlchemyError as error:
        raise StoreError(f"the store cannot be read: {reason(error)}") from None


@contextmanager
def writing(engine: Engine, *, at_length: bool = False) -> Iterator[Connection]:
    """A connection for the block, which is alone in writing; what it did is committed at the end.

    Raises StoreError when nothing was written, and InDoubtError when the commit itself failed.
    """
    is_committing = False
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            _allow(connection, at_length=at_length)
            if not is_sqlite(engine):
                connection.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
            yield connection
            is_committing = True
    except SQLAlchemyError as error:
        kind = InDoubtError if is_committing else StoreError
        raise kind(f"the store cannot be written: {reason(error)}") from None


def _allow(connection: Connection, *, at_length: bool) -> None:
    if at_length and not is_sqlite(connection.engine):
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {MIGRATION * 1000}")
