"""Reads the definition files: always where the store is this process's own, else while no other replica does.

A replica that loses its connection to the store stops, as another one will read them now; it serves on.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.changes import Change
from xds_server.catalog.file_records import FileRecords, as_given
from xds_server.catalog.files import FileSource
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.postgres import READER_LOCK
from xds_server.catalog.store.records import FILES
from xds_server.catalog.store.sessions import Holding
from xds_server.catalog.store.store import Committed

log = structlog.get_logger("definitions")


class FileReading:
    """The files below `roots`, as records of a catalogue."""

    def __init__(self, catalog: Catalog, roots: Sequence[Path]) -> None:
        self._catalog = catalog
        self._roots = tuple(map(str, roots))
        self._may = asyncio.Event()
        self._may_not = asyncio.Event()
        # What other replicas read is not known here: what is of a file stays of a file.
        catalog.contents.is_watched = lambda origin: (
            catalog.store.is_shared or as_given(self._roots, origin) is not None
        )

    async def run(self) -> None:
        """Run until cancelled; at once at its end without roots."""
        if not self._roots:
            return
        if not self._catalog.store.is_shared:
            await self._read()
        loop = asyncio.get_running_loop()

        def told(may: bool) -> None:
            with suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(self._tell, may)

        holding = Holding(self._catalog.store.engine, READER_LOCK, told)
        holding.start()
        try:
            while True:
                await self._may.wait()
                log.info("definitions.reading", detail="this replica reads the files")
                await self._until_lost()
                log.warning("definitions.not_reading", detail="the connection to the store was lost")
        finally:
            holding.end()

    def _tell(self, may: bool) -> None:
        (self._may if may else self._may_not).set()
        (self._may_not if may else self._may).clear()

    async def _until_lost(self) -> None:
        reading, lost = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._may_not.wait())
        try:
            done, _ = await asyncio.wait({reading, lost}, return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                reading.result()
        finally:
            for task in (reading, lost):
                task.cancel()
            await asyncio.gather(reading, lost, return_exceptions=True)

    async def _read(self) -> None:
        with suppress(StoreError):
            await self._catalog.look()  # for what the last one to read put in force
        records = FileRecords(self._catalog, self._roots)
        happened = asyncio.Event()

        def committed(one: Committed) -> None:
            if one.revision.by.source != FILES:
                happened.set()

        async def retry() -> None:
            while True:
                await happened.wait()
                happened.clear()
                await records.retry()

        async def take(change: Change) -> None:
            await records.take(change, is_sound=not source.problems)

        source = FileSource(self._roots, take, records.held(), records.said)
        async with AsyncExitStack() as stack:
            self._catalog.listeners.append(committed)
            stack.callback(self._catalog.listeners.remove, committed)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(source.run())
                tasks.create_task(retry())
