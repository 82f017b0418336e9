"""One transaction on the store, whose errors are words for operators."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from xds_server.catalog.store.engine import WRITE_LOCK, StoreError, is_sqlite, reason


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """A connection for the block; what it did is committed at the end. One that writes is alone in doing so.

    Raises StoreError; then nothing was written.
    """
    try:
        with engine.connect().execution_options(writes=writes) as connection, connection.begin():
            if writes and not is_sqlite(engine):
                connection.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
            yield connection
    except SQLAlchemyError as error:
        raise StoreError(f"the store cannot be {'written' if writes else 'read'}: {reason(error)}") from None
