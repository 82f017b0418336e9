"""Two replicas on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest_asyncio
from catalogues import until
from postgres import Postgres
from shared_fleet import SharingFleet
from sqlalchemy import Engine

from xds_server.catalog.store.engine import open_engine


@pytest_asyncio.fixture
async def engines(postgresql: Postgres) -> AsyncIterator[tuple[Engine, Engine]]:
    url = postgresql.database()
    engines = open_engine(url), open_engine(url)
    yield engines
    for engine in engines:
        engine.dispose()


@pytest_asyncio.fixture
async def replicas(engines: tuple[Engine, Engine]) -> AsyncIterator[tuple[SharingFleet, SharingFleet]]:
    """Two that know of each other."""
    one, other = SharingFleet(engines[0], "one"), SharingFleet(engines[1], "other")
    for replica in (one, other):
        await replica.start()
    await until(lambda: not (one.fleet.others.problem or other.fleet.others.problem))
    await until(lambda: len(list(one.fleet.others.nodes())) == len(list(other.fleet.others.nodes())) == 1)
    yield one, other
    for replica in (one, other):
        await replica.stop()
