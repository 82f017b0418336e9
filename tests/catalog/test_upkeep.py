"""Overrides expire by themselves, and old history is forgotten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from catalogues import ANN, catalogue, over, until, upstream, wants

from xds_server.catalog import upkeep
from xds_server.catalog.planning import Proposal

TARGETS = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")


async def test_overrides_expire_together_and_are_told_who_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAUSE", 0.01)
    now = datetime.now(UTC)
    soon, later = (now + timedelta(seconds=0.3)).isoformat(), (now + timedelta(hours=1)).isoformat()
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, delivered):
        await catalog.commit(wants(upstream("a", "10.0.0.1", "10.0.0.2", "10.0.0.3")))
        wanted = {}
        for target, expires in zip(TARGETS, (soon, soon, later), strict=True):
            wanted |= over("a", target, state="draining", expires=expires)
        await catalog.commit(lambda _: Proposal(ANN, wanted))
        assert catalog.contents.expired(now) == frozenset()
        keeping = asyncio.create_task(upkeep.keep_up(catalog, keep=1000, newer_than=timedelta(days=1)))
        await catalog.until_delivered(3)
        assert delivered.states("a") == dict(zip(TARGETS, ("enabled", "enabled", "draining"), strict=True))
        assert datetime.now(UTC) - now > timedelta(seconds=0.3)
        revision = catalog.store.revisions()[0]
        assert (revision.by.author, revision.by.source) == ("xds-server", "xds-server")
        assert len((await catalog.committed(3)).changes) == 2
        keeping.cancel()


async def test_an_override_that_was_given_more_time_or_taken_away_does_not_expire(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, _):
        await catalog.commit(wants(upstream("a", "10.0.0.1", "10.0.0.2")))
        for hours in (-1, 1):
            moment = (now + timedelta(hours=hours)).isoformat()
            wanted = over("a", TARGETS[0], state="draining", expires=moment)
            await catalog.commit(lambda _, wanted=wanted: Proposal(ANN, wanted))  # type: ignore[misc]
        assert catalog.contents.expired(now) == frozenset()
        past = over("a", TARGETS[1], state="draining", expires=(now - timedelta(hours=1)).isoformat())
        await catalog.commit(lambda _: Proposal(ANN, past))
        assert catalog.contents.expired(now) == past.keys()
        await catalog.commit(lambda _: Proposal(ANN, remove=frozenset(past)))
        assert catalog.contents.expired(now) == frozenset()
        head = catalog.head
        await upkeep.expire(catalog)
        assert catalog.head == head


async def test_old_history_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAUSE", 0.01)
    monkeypatch.setattr(upkeep, "PRUNE", 0.01)
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, _):
        for number in range(8):
            await catalog.commit(wants(upstream(f"u{number}")))
        keeping = asyncio.create_task(upkeep.keep_up(catalog, keep=3, newer_than=timedelta(0)))
        await until(lambda: catalog.store.oldest() == 6)
        assert len(await catalog.state_at(6)) == 6
        keeping.cancel()
