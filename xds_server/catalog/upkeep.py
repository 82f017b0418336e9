"""What the catalogue does by itself: overrides that expire, and history that is forgotten."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import Attribution

PAUSE: Final = 1.0
"""Seconds between two looks at the clock: how late an override may expire."""
PRUNE: Final = 3600.0
"""Seconds between two times that history is forgotten."""
BY: Final = Attribution("xds-server", "overrides expired", source="xds-server")

log = structlog.get_logger("catalog")


async def keep_up(catalog: Catalog, *, keep: int, newer_than: timedelta) -> None:
    """Run until cancelled. `keep`, `newer_than`: revisions that are kept; see `Store.prune`."""
    due = 0.0
    loop = asyncio.get_running_loop()
    while True:
        if catalog.contents.expired(datetime.now(UTC)):
            await _quietly(expire(catalog))
        if loop.time() >= due:
            due = loop.time() + PRUNE
            await _quietly(catalog.prune(keep=keep, newer_than=newer_than))
        await asyncio.sleep(PAUSE)


async def expire(catalog: Catalog) -> None:
    """Take away the overrides whose time is over. Raises StoreError."""
    await catalog.commit(lambda contents: Proposal(BY, remove=contents.expired(datetime.now(UTC))))


async def _quietly(work: Awaitable[object]) -> None:
    """A store that is lost is told of elsewhere; what could not be done is done later."""
    try:
        await work
    except StoreError as error:
        log.debug("store.problem", problem=str(error))
