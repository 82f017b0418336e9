"""Several catalogues over one PostgreSQL: what one commits is in force on all, and nobody decides on what is past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from catalogues import ANN, BOB, Delivered, catalogue, gone, over, until, upstream, wants
from postgres import Postgres
from sqlalchemy import text
from structlog.testing import capture_logs

from xds_server.catalog import following
from xds_server.catalog.catalog import Catalog
from xds_server.catalog.errors import NotOwnedError, RefusedError
from xds_server.catalog.following import follow
from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.upkeep import expire

MANY = [f"10.0.0.{n + 1}" for n in range(20)]
LISTENING = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
Replica = tuple[Catalog, Delivered]


@pytest_asyncio.fixture
async def replicas(postgresql: Postgres) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two, of which neither follows the other by itself."""
    url = postgresql.database()
    async with catalogue(url) as one, catalogue(url) as other:
        yield one, other


async def test_what_one_commits_is_in_force_on_the_other_at_once(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, _), (other, delivered) = replicas
    monkeypatch.setattr(following, "POLL", 600)
    task = asyncio.create_task(follow(other))
    try:
        await until(lambda: listening(other) == 1)
        for number in range(1, 6):
            await one.commit(wants(upstream(f"u{number}")))
            await until(lambda number=number: delivered.numbers[-1:] == [number])  # type: ignore[misc]
        assert delivered.definitions.upstreams.keys() == {f"u{n}" for n in range(1, 6)}
    finally:
        task.cancel()


async def test_without_being_told_it_asks(replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    (one, _), (other, delivered) = replicas
    monkeypatch.setattr("xds_server.catalog.following.CHANNEL", "elsewhere")
    task = asyncio.create_task(follow(other))
    try:
        await one.commit(wants(upstream("a")))
        await until(lambda: delivered.numbers == [1], 5)
    finally:
        task.cancel()


async def test_a_broken_connection_is_made_anew(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch, postgresql: Postgres
) -> None:
    (one, _), (other, delivered) = replicas
    monkeypatch.setattr(following, "POLL", 600)
    task = asyncio.create_task(follow(other))
    try:
        await until(lambda: listening(other) == 1)
        with one.store.engine.connect() as connection:
            broken = connection.execute(text(f"SELECT pid, pg_terminate_backend(pid) {LISTENING}")).scalar_one()
        await until(lambda: listening(other, but=broken) == 1)
        await one.commit(wants(upstream("a")))
        await until(lambda: delivered.numbers == [1])
    finally:
        task.cancel()


def listening(catalog: Catalog, but: int = 0) -> int:
    """How many connections do, one left out."""
    with catalog.store.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) {LISTENING} AND pid != {but}")).scalar_one())


async def test_nobody_is_told_that_all_is_as_wanted_for_what_was_so_a_moment_ago(
    replicas: tuple[Replica, Replica],
) -> None:
    (one, _), (other, _) = replicas
    await one.commit(wants(upstream("a", "10.0.0.1")))
    await other.look()
    await one.commit(wants(upstream("a", "10.0.0.2")))
    made = await other.commit(wants(upstream("a", "10.0.0.1"), by=BOB))
    assert made.number == 3
    assert made.revision is not None
    await one.look()
    assert one.contents.upstream("a") == upstream("a", "10.0.0.1")


async def test_nobody_is_refused_for_what_was_so_a_moment_ago(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (other, _) = replicas
    await one.commit(wants(upstream("a")))
    made = await one.commit(wants(upstream("a", "10.0.0.1")))
    assert (await other.commit(wants(upstream("a"), expected={("upstream", "a"): made.number}))).number == 3
    with pytest.raises(RefusedError):
        await other.commit(wants(upstream("a"), expected={("upstream", "a"): made.number}))


async def test_a_plan_on_an_old_state_is_made_anew(replicas: tuple[Replica, Replica]) -> None:
    """A file's upstream of a moment ago is not overwritten."""
    (one, _), (other, _) = replicas
    await one.commit(wants(upstream("a"), by=BOB, origin="/etc/a.yaml"))
    with pytest.raises(NotOwnedError):
        await other.commit(wants(upstream("a", "10.0.0.1")))
    assert other.head == 1


async def test_of_many_writes_to_both_each_is_there_once(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (other, _) = replicas
    writes = [(one, other)[n % 2].commit(wants(upstream(f"u{n}"))) for n in range(40)]
    numbers = sorted(made.number for made in await asyncio.gather(*writes))
    assert numbers == [*range(1, 41)]
    await one.look()
    await other.look()
    assert one.contents.records == other.contents.records
    assert len(one.contents.records) == 40


async def test_what_is_held_and_what_becomes_of_it_is_known_everywhere(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (other, delivered) = replicas
    await one.commit(wants(upstream("a", *MANY)))
    assert (await one.commit(wants(remove=gone("a")))).is_held
    await other.look()
    assert set(other.held) == {2}
    await other.commit(wants(remove=gone("a"), refers_to=2, confirmed=True))
    await one.look()
    assert one.held == other.held == {}
    await other.until_delivered(3)
    assert delivered.numbers == [1, 3]


async def test_one_that_was_cut_off_for_longer_than_history_is_kept_starts_over(
    replicas: tuple[Replica, Replica],
) -> None:
    (one, _), (other, delivered) = replicas
    await one.commit(wants(upstream("a"), upstream("b"), upstream("c")))
    await other.look()
    await one.commit(wants(remove=gone("a")))
    await one.commit(wants(upstream("b", "10.0.0.1")))
    await one.commit(wants(upstream("d")))
    await one.prune(keep=1, newer_than=timedelta(0))
    with capture_logs() as logs:
        await other.look()
    assert "revisions.missed" in {log["event"] for log in logs}
    assert other.head == one.head
    assert other.contents.records == one.contents.records
    await other.until_delivered(4)
    assert delivered.numbers == [1, 4]
    assert {name: len(each.value.targets) for name, each in delivered.definitions.upstreams.items()} == {
        "b": 1,
        "c": 0,
        "d": 0,
    }


async def test_what_a_newer_replica_writes_is_not_guessed_at(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (other, _) = replicas
    await one.commit(wants(upstream("a")))
    await other.look()
    await one.commit(wants(upstream("a", "10.0.0.1")))
    newer = 'UPDATE changes SET document = \'{"name":"a","colour":"red"}\' WHERE revision = 2'
    with one.store.engine.begin() as connection:
        connection.execute(text(newer))
    with pytest.raises(StoreError, match="does not understand its upstream 'a', which a newer one may have written"):
        await other.look()
    assert other.problem
    assert (other.head, other.contents.upstream("a")) == (1, upstream("a"))
    with pytest.raises(StoreError, match="does not understand"):
        await other.commit(wants(upstream("b")))
    with one.store.engine.begin() as connection:
        connection.execute(text(newer.replace('"colour":"red"', '"description":"red"')))
    await other.look()
    assert (other.head, other.problem) == (2, "")


async def test_both_take_away_an_expired_override_and_it_goes_once(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (other, _) = replicas
    await one.commit(wants(upstream("a", "10.0.0.1")))
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    await one.commit(lambda _: Proposal(ANN, over("a", "10.0.0.1:80", state="draining", expires=past)))
    await other.look()
    await asyncio.gather(expire(one), expire(other))
    assert one.store.head() == 3


async def test_one_that_waits_for_files_and_is_cut_off_begins_as_after_a_restart(postgresql: Postgres) -> None:
    url = postgresql.database()
    async with catalogue(url) as (one, _), catalogue(url, awaits_files=True) as (other, delivered):
        for number in range(3):
            await one.commit(wants(upstream(f"u{number}")))
        await one.prune(keep=1, newer_than=timedelta(0))
        await other.look()
        await other.until_delivered(3)
        assert delivered.definitions.upstreams.keys() == {"u0", "u1", "u2"}
