"""What the catalogue does by itself: overrides that expire, history that is forgotten, and a lost store that is looked for."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.contents import Contents
from xds_server.catalog.overrides import TargetOverride
from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import OVERRIDE, Attribution, Key

PAUSE: Final = 1.0
"""Seconds between two looks at a store that is lost, and at most between two at the clock while an override is to expire."""
PRUNE: Final = 3600.0
"""Seconds between two times that history is forgotten."""

log = structlog.get_logger("catalog")


async def keep_up(catalog: Catalog, *, keep: int, newer_than: timedelta) -> None:
    """Run until cancelled. `keep`, `newer_than`: revisions that are kept; see `Store.prune`."""
    due = 0.0
    loop = asyncio.get_running_loop()
    while True:
        if catalog.problem:
            await _quietly(catalog.look())
        elif expired(catalog.contents, datetime.now(UTC)):
            await _quietly(_expire(catalog))
        elif loop.time() >= due:
            due = loop.time() + PRUNE
            await _quietly(catalog.prune(keep=keep, newer_than=newer_than))
        await asyncio.sleep(PAUSE)


def expired(contents: Contents, now: datetime) -> set[Key]:
    """The overrides whose time is over."""
    found = ((name, contents.records[OVERRIDE, name].value) for name in contents.names(OVERRIDE))
    return {
        (OVERRIDE, name)
        for name, value in found
        if isinstance(value, TargetOverride) and value.expires is not None and value.expires <= now
    }


async def _expire(catalog: Catalog) -> None:
    by = Attribution("xds-server", "overrides expired", source="xds-server")
    await catalog.commit(lambda contents: Proposal(by, remove=frozenset(expired(contents, datetime.now(UTC)))))


async def _quietly(work: Awaitable[object]) -> None:
    try:
        await work
    except StoreError as error:
        log.debug("store.problem", problem=str(error))
