"""Connections of their own to PostgreSQL: one hears of commits, one holds what only one replica may have.

Each lives in a daemon thread, which may wait for the network for as long as it likes, and is made anew when it breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Engine

from xds_server.catalog.store import postgres

if TYPE_CHECKING:
    from psycopg import Connection

PAUSE: Final = 1.0
"""Seconds until a broken connection is made anew, between two tries to have a lock, and between two signs of life."""

log = structlog.get_logger("catalog")


class _Session(Thread):
    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__(name=name, daemon=True)
        _, self._where = engine.dialect.create_connect_args(engine.url)
        self._ended = Event()

    def end(self) -> None:
        """Close the connection, within `PAUSE`."""
        self._ended.set()

    def run(self) -> None:
        import psycopg

        while not self._ended.is_set():
            try:
                with psycopg.connect(**{**self._where, **postgres.CONNECTION}, autocommit=True) as connection:
                    connection.execute(postgres.settings(postgres.SESSION))
                    self._use(connection)
            except Exception as error:  # that the database is gone is noticed, and told, by those who need it
                log.debug("store.connection_lost", connection=self.name, problem=str(error))
            self._after()
            self._ended.wait(PAUSE)

    def _use(self, connection: Connection[Any]) -> None:
        raise NotImplementedError

    def _after(self) -> None:
        """The connection is gone."""


class Listening(_Session):
    """Calls `heard` with the payload of each notification, in a thread."""

    def __init__(self, engine: Engine, channel: str, heard: Callable[[str], None]) -> None:
        super().__init__(engine, "store-listening")
        self._channel, self._heard = channel, heard

    def _use(self, connection: Connection[Any]) -> None:
        connection.execute(f"LISTEN {self._channel}")
        while not self._ended.is_set():
            for notice in connection.notifies(timeout=PAUSE):
                self._heard(notice.payload)


class Holding(_Session):
    """Calls `told` with whether an advisory lock is had, in a thread, each time that this changes.

    The lock goes when the process does, when its machine or the network does (after `postgres.SESSION`), and when it stands
    still.
    """

    def __init__(self, engine: Engine, key: int, told: Callable[[bool], None]) -> None:
        super().__init__(engine, "store-holding")
        self._key, self._told = key, told
        self._has = False

    def _use(self, connection: Connection[Any]) -> None:
        if connection.info.server_version >= 140_000:
            connection.execute(postgres.settings({"idle_session_timeout": f"{postgres.SILENT}s"}))
        while not self._ended.is_set():
            if self._has:
                connection.execute("SELECT 1")
            else:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
                if row is not None and row[0]:
                    self._has = True
                    self._told(True)
            self._ended.wait(PAUSE)

    def _after(self) -> None:
        if self._has:
            self._has = False
            self._told(False)
