"""Keeps what definitions became for the next start, in the background: no change waits for it.

What goes wrong with it is for the debug log alone: it costs the next start some time.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import structlog

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.kept import Overridden, Record
from xds_server.catalog.readymade import Readymade
from xds_server.catalog.store.compiled import Row
from xds_server.catalog.store.engine import StoreError
from xds_server.delivery.compiling import Made
from xds_server.delivery.in_force import Key
from xds_server.delivery.needs import NOTHING, Needs
from xds_server.delivery.packing import is_lasting, packed

QUIET: Final = 2.0
"""Seconds for which a definition has stayed as it is when it is written: what changes all the time is not."""
BATCH: Final = 200
"""Definitions in one transaction, about 10 ms: other writers wait meanwhile."""
PAUSE: Final = 0.1
"""Seconds between two: SQLite's writers do not queue, and whoever changes a definition would look in vain for a gap."""
AT_THE_END: Final = 3.0
"""Seconds that writing the rest may take when the control plane stops."""

log = structlog.get_logger("delivery")


class _Waiting(NamedTuple):
    since: float
    made: Made | None
    """None: what is kept of it is of no use any more."""


class Keeper:
    """Writes to `readymade` what it is told is served."""

    def __init__(self, catalog: Catalog, readymade: Readymade) -> None:
        self._catalog, self._readymade = catalog, readymade
        self._waiting: dict[Key, _Waiting] = {}
        """The one that changed longest ago is the first."""
        self._kept: set[Key] = set()
        """Of what there may be rows."""
        self._changed = asyncio.Event()

    def loaded(self, keys: Mapping[Key, object]) -> None:
        """These are kept, and are what is served. What else was found in the store is of no use."""
        self._kept |= keys.keys() | self._readymade.stale
        for key in self._readymade.stale:
            self._wait(key, None)

    def served(self, made: Mapping[Key, Made], needs: Mapping[Key, Needs]) -> None:
        """Definitions became this."""
        for key, each in made.items():
            lasting = is_lasting(each, needs.get(key, NOTHING)) and isinstance(each.definition, Record | Overridden)
            if lasting or key in self._kept:
                self._wait(key, each if lasting else None)

    async def run(self) -> None:
        """Write what has stayed as it is for a while, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            first = next(iter(self._waiting.values()), None)
            if first is None:
                await self._changed.wait()
            elif (left := first.since + QUIET - loop.time()) > 0:
                await asyncio.sleep(left)
            else:
                await self._write(loop.time() - QUIET)
                await asyncio.sleep(PAUSE)

    async def end(self) -> None:
        """Write the rest, as far as there is time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_THE_END):
                while self._waiting:
                    await self._write(asyncio.get_running_loop().time())

    def _wait(self, key: Key, made: Made | None) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = _Waiting(asyncio.get_running_loop().time(), made)
        self._changed.set()

    async def _write(self, until: float) -> None:
        batch = {key: each.made for key, each in islice(self._waiting.items(), BATCH) if each.since <= until}
        for key in batch:
            del self._waiting[key]
        try:
            await self._catalog.call(self._keep, batch)
        except StoreError as error:
            log.debug("compiled.not_kept", problem=str(error))  # of a store that is lost others tell
        except Exception:
            log.debug("compiled.not_kept", exc_info=True)
        self._kept |= batch.keys()

    def _keep(self, batch: Mapping[Key, Made | None]) -> None:
        """In a thread."""
        self._readymade.keep({key: self._row(made) for key, made in batch.items()})

    def _row(self, made: Made | None) -> Row | None:
        if made is None or not isinstance(made.definition, Record | Overridden):
            return None
        return self._readymade.row(made.definition, packed(made))
