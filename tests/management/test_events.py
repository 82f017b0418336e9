"""Readers of revisions: what is kept for all of them, what comes from the store, and when one is ended."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from catalogues import catalogue, upstream, wants

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.errors import UnknownRecordError
from xds_server.catalog.store.engine import StoreError
from xds_server.management import events
from xds_server.management.events import Events, FellBehindError, Reader, StoppingError
from xds_server.management.http import events as http
from xds_server.security.access import UnauthenticatedError


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, _):
        yield catalog


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches soon."""
    for name, value in {"PATIENCE": 10, "RECENT": 5, "PAGE": 3, "NAMES": 4, "RECENT_NAMES": 12}.items():
        monkeypatch.setattr(events, name, value)


async def change(catalog: Catalog, times: int = 1, upstreams: int = 1) -> None:
    for _ in range(times):
        labels = {"n": str(catalog.head)}
        await catalog.commit(wants(*(upstream(f"u{n}", labels=labels) for n in range(upstreams))))


async def read(reader: Reader, many: int) -> list[int]:
    async with asyncio.timeout(10):
        return [(await reader.next()).number for _ in range(many)]


@pytest.mark.usefixtures("short")
async def test_what_is_not_kept_here_comes_from_the_store(catalog: Catalog) -> None:
    told = Events(catalog)
    early = await told.reader(0)
    await change(catalog, 20)
    assert [number for number in range(1, 21) if told.recent(number)] == [16, 17, 18, 19, 20]
    late = await told.reader(2)
    assert await read(late, 18) == list(range(3, 21))
    waiting = asyncio.create_task(read(late, 1))
    await change(catalog)
    assert await waiting == [21]
    with pytest.raises(FellBehindError):
        await early.next()


@pytest.mark.usefixtures("short")
async def test_both_say_the_same(catalog: Catalog) -> None:
    told = Events(catalog)
    await change(catalog, upstreams=7)
    kept = told.recent(1)
    (stored,) = await told.page(0)
    assert kept is not None
    assert kept.data == stored.data
    assert (kept.data["change_count"], [each["name"] for each in kept.data["changes"]]) == (7, ["u0", "u1", "u2", "u3"])


@pytest.mark.usefixtures("short")
async def test_what_is_kept_is_bounded_by_what_it_names(catalog: Catalog) -> None:
    told = Events(catalog)
    await change(catalog, 5, upstreams=9)
    assert [number for number in range(1, 6) if told.recent(number)] == [3, 4, 5], "four names each"
    assert await read(await told.reader(0), 5) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("short")
async def test_a_reader_may_be_as_far_behind_as_it_was(catalog: Catalog) -> None:
    told = Events(catalog)
    await change(catalog, 30)
    far = await told.reader(0)
    await change(catalog, 10)
    assert await read(far, 25) == list(range(1, 26)), "30, and 10 more while it read nothing"
    await change(catalog, 11)
    with pytest.raises(FellBehindError, match=r"26 revisions were made since.*: go on after revision 25"):
        await far.next()
    assert await read(await told.reader(25), 26) == list(range(26, 52))


async def test_the_end_is_told_at_once(catalog: Catalog) -> None:
    told = Events(catalog)
    await change(catalog, 3)
    idle, busy = await told.reader(), await told.reader(1)
    waiting = asyncio.create_task(idle.next())
    await asyncio.sleep(0)
    told.end()
    with pytest.raises(StoppingError, match="go on after revision 3"):
        await waiting
    with pytest.raises(StoppingError, match="go on after revision 1"):
        await busy.next()


async def test_what_another_replica_made_is_told(catalog: Catalog, tmp_path: Path) -> None:
    told = Events(catalog)
    reader = await told.reader()
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (other, _):
        await change(other, 3)
    ahead = await told.reader(2)  # who read two there, and comes here
    assert await read(ahead, 1) == [3]
    assert await read(reader, 3) == [1, 2, 3]
    with pytest.raises(UnknownRecordError, match="there is no revision '4': the newest is 3"):
        await told.reader(4)


async def test_a_store_that_is_lost_ends_those_who_need_it(catalog: Catalog, tmp_path: Path) -> None:
    before = Events(catalog)
    await change(catalog, 3)
    after = Events(catalog)
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute("ALTER TABLE revisions RENAME TO lost")
    assert await read(await before.reader(0), 3) == [1, 2, 3]
    with pytest.raises(StoreError):
        await after.reader(0)


async def test_server_sent_events_keep_the_connection_alive(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "KEEPALIVE", 0.01)
    told = Events(catalog)
    await change(catalog, 2)
    blocks = http.told(await told.reader(1))
    assert await anext(blocks) == "id: 1\n\n"
    assert (await anext(blocks)).startswith("id: 2\nevent: revision\ndata: {")
    assert await anext(blocks) == await anext(blocks) == ":\n\n"
    await change(catalog)
    assert (await anext(blocks)).startswith("id: 3\n"), "and nothing was lost"


@pytest.mark.usefixtures("short")
async def test_server_sent_events_say_why_they_end(catalog: Catalog) -> None:
    told = Events(catalog)
    blocks = http.told(await told.reader(0))
    assert await anext(blocks) == "id: 0\n\n"
    await change(catalog, 11)
    end = await anext(blocks)
    assert end.startswith("event: end\ndata: ")
    data = json.loads(end.partition("data: ")[2])
    assert data["after"] == 0
    assert data["detail"].startswith("11 revisions were made")
    with pytest.raises(StopAsyncIteration):
        await anext(blocks)


async def test_who_is_not_let_in_any_more_is_told_no_more(catalog: Catalog) -> None:
    told, allowed = Events(catalog), 2

    async def admit() -> None:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise UnauthenticatedError("this token is not known here")

    blocks = http.told(await told.reader(0), admit)
    await change(catalog, 3)
    assert [(await anext(blocks)).partition("\n")[0] for _ in range(3)] == ["id: 0", "id: 1", "id: 2"]
    end = await anext(blocks)
    assert json.loads(end.partition("data: ")[2]) == {"detail": "this token is not known here", "after": 2}
    with pytest.raises(StopAsyncIteration):
        await anext(blocks)
