"""Keeps a replica in step with what others commit, and finds a lost store again.

PostgreSQL tells of each commit at once. That is a hint, which may get lost: the store is asked every second all the same.
"""

import asyncio
from contextlib import suppress
from typing import Final

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.sessions import Listening
from xds_server.catalog.store.store import CHANNEL

POLL: Final = 1.0
"""Seconds between two looks at the store when nothing is heard of it."""


async def follow(catalog: Catalog) -> None:
    """Run until cancelled."""
    loop = asyncio.get_running_loop()
    newest: asyncio.Queue[int] = asyncio.Queue()

    def heard(number: str) -> None:
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(newest.put_nowait, int(number))

    listening = Listening(catalog.store.engine, CHANNEL, heard) if catalog.store.is_shared else None
    if listening is not None:
        listening.start()
    try:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    while await newest.get() <= catalog.head:
                        pass  # of what this replica committed itself, or has seen already
            with suppress(StoreError):
                await catalog.look()
    finally:
        if listening is not None:
            listening.end()
