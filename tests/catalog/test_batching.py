"""Many changes of single records share a revision, and each has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from catalogues import ANN, BOB, catalogue, upstream, wants

from xds_server.catalog import batching
from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.contents import Contents
from xds_server.catalog.errors import ChangedMeanwhileError, RefusedError, UnknownRecordError
from xds_server.catalog.overrides import TargetOverride
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import OVERRIDE, Attribution
from xds_server.management.bodies import BodyError
from xds_server.management.targets import Targets

COUNT = 200
HOSTS = [f"10.0.0.{n + 1}" for n in range(COUNT)]


class Patches:
    """Of targets of upstream ``a``, by the function that the API calls."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.targets = Targets(catalog, lambda _: [])

    async def __call__(self, number: int, by: Attribution = ANN, expected: Any = None, **patch: Any) -> Outcome:
        return await self.targets.patch("a", f"{HOSTS[number]}:80", patch, by, expected)

    def override(self, number: int) -> dict[str, Any]:
        found = self.catalog.contents.overrides("a").get(f"{HOSTS[number]}:80", TargetOverride())
        return found.model_dump(exclude_unset=True)


@pytest_asyncio.fixture
async def patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Patches]:
    # So that however slow this machine is, what comes together is together.
    monkeypatch.setattr(batching, "PAUSE", 0.5)
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, _):
        await catalog.commit(wants(upstream("a", *HOSTS, algorithm="weighted-round-robin")))
        patches = Patches(catalog)
        await patches(0, state="disabled")  # the next ones wait for their turn, and meet there
        yield patches


async def test_many_share_one_revision_and_each_is_told_of_its_own(patch: Patches) -> None:
    made = await asyncio.gather(*(patch(n, state="draining") for n in range(1, COUNT)))
    assert {each.number for each in made} == {3}
    assert all([name for _, name in each.changes] == [f"a/{HOSTS[n]}:80"] for n, each in enumerate(made, 1))
    assert len(patch.catalog.contents.overrides("a")) == COUNT


async def test_one_that_stands_alone_does_not_wait(patch: Patches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PAUSE", 600)
    alone = Patches(patch.catalog)
    async with asyncio.timeout(20):
        assert (await alone(1, state="draining")).number == 3


async def test_what_cannot_be_fails_alone(patch: Patches) -> None:
    edits = [patch(n, state="draining") for n in range(1, 40)]
    bad: list[Any] = [
        patch.targets.patch("a", "10.9.9.9:80", {"state": "draining"}, ANN),
        patch(1, weight="much"),
        patch(2, drain_until="2030-01-01T00:00:00Z", state="enabled"),
    ]
    *good, unknown, unreadable, contradictory = await asyncio.gather(*edits, *bad, return_exceptions=True)
    assert {each.number for each in good} == {3}, "and the others still share a revision"
    assert isinstance(unknown, UnknownRecordError)
    assert isinstance(unreadable, BodyError)
    assert isinstance(contradictory, RefusedError)


async def test_those_of_one_target_come_in_their_order(patch: Patches) -> None:
    made = await asyncio.gather(*(patch(1, weight=n) for n in range(2, 50)), patch(1, state="draining"))
    assert {each.number for each in made} == {3}
    assert patch.override(1) == {"weight": 49, "state": "draining"}
    one, two, three = await asyncio.gather(patch(1, weight=None, state=None), patch(2, weight=5), patch(1, weight=7))
    assert {each.number for each in (one, two, three)} == {4}
    assert patch.override(1) == {"weight": 7}
    await asyncio.gather(patch(1, weight=8), patch(1, weight=None))
    assert patch.override(1) == {}


async def test_beside_one_that_cannot_be_the_others_still_come_in_their_order(patch: Patches) -> None:
    """What one change leaves makes the next one of the same target possible: it is not judged by what was before both."""
    await patch(1, state="draining", drain_until="2100-01-01T00:00:00Z")
    until = {"drain_until": None}
    refused, cleared, last = await asyncio.gather(
        patch(1, state="enabled"), patch(1, **until), patch(1, state="disabled"), return_exceptions=True
    )
    assert isinstance(refused, RefusedError), "a deadline has no meaning then"
    assert isinstance(cleared, Outcome)
    assert isinstance(last, Outcome), last
    assert cleared.number == last.number
    assert patch.override(1) == {"state": "disabled"}


async def test_each_that_is_possible_but_not_all_together(patch: Patches) -> None:
    """Under round-robin weights that are not 0 must be equal: one at a time may come, and both when they are."""
    nobody = [{"host": host, "port": 80, "weight": 0} for host in HOSTS[:2]]
    await patch.catalog.commit(wants(upstream("b").model_validate({"name": "b", "targets": nobody})))

    async def both(one: int | None, other: int | None) -> list[Any]:
        weights = zip(HOSTS[:2], (one, other), strict=True)
        edits = (patch.targets.patch("b", f"{host}:80", {"weight": weight}, ANN) for host, weight in weights)
        return await asyncio.gather(*edits, return_exceptions=True)

    first, second = await both(3, 4)
    assert isinstance(first, Outcome)
    assert isinstance(second, RefusedError)
    assert "round-robin shares equally" in str(second)
    together = await both(5, 5)
    assert together[0].number == together[1].number


async def test_of_two_who_expect_the_same_one_is_refused(patch: Patches) -> None:
    expected = patch.targets.expected("a", f"{HOSTS[1]}:80")
    one, two = await asyncio.gather(
        patch(1, expected=expected, weight=2), patch(1, expected=expected, weight=3), return_exceptions=True
    )
    assert isinstance(one, Outcome)
    assert isinstance(two, ChangedMeanwhileError)
    assert patch.override(1) == {"weight": 2}


async def test_who_expects_what_is_gone_is_refused_whatever_those_expect_who_come_next(patch: Patches) -> None:
    stale = patch.targets.expected("a", f"{HOSTS[1]}:80")
    await patch.catalog.commit(wants(upstream("a", *HOSTS, algorithm="weighted-round-robin", connect_timeout="7s")))
    current = patch.targets.expected("a", f"{HOSTS[2]}:80")
    first, second = await asyncio.gather(
        patch(1, expected=stale, state="draining"), patch(2, expected=current, state="draining"), return_exceptions=True
    )
    assert isinstance(first, ChangedMeanwhileError), "the definition is another one since"
    assert isinstance(second, Outcome)
    assert patch.override(1) == {}


async def test_a_mistake_in_one_keeps_nobody_waiting(patch: Patches) -> None:
    def mistaken(contents: Contents, before: Any) -> Any:
        raise ZeroDivisionError

    batches = patch.targets._batches
    refused, failed, last = await asyncio.wait_for(
        asyncio.gather(
            patch(1, state="no such state"),
            batches.commit((OVERRIDE, "a/x"), ANN, mistaken),
            patch(2, BOB, state="draining"),
            return_exceptions=True,
        ),
        10,
    )
    assert isinstance(refused, RefusedError)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(last, Outcome)


async def test_authors_keep_their_own_revisions(patch: Patches) -> None:
    why = Attribution("ann", "maintenance")
    made = await asyncio.gather(
        patch(1, ANN, weight=2), patch(2, ANN, weight=2), patch(3, BOB, weight=2), patch(4, why, weight=2)
    )
    assert [each.number for each in made] == [3, 3, 4, 5]
    assert [each.revision and each.revision.by for each in made] == [ANN, ANN, BOB, why]


async def test_what_changes_nothing_says_so(patch: Patches) -> None:
    await patch(1, weight=2)
    same, other = await asyncio.gather(patch(1, weight=2), patch(2, weight=2))
    assert (same.revision, dict(same.changes)) == (None, {})
    assert other.revision is not None


async def test_a_store_that_is_lost_fails_all(patch: Patches, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as context:
        context.setattr(patch.catalog.store, "commit", failing)
        made = await asyncio.gather(*(patch(n, weight=2) for n in range(1, 5)), return_exceptions=True)
    assert all(isinstance(each, StoreError) for each in made)
    await patch.catalog.look()
    assert (await patch(1, weight=2)).number == 3


async def test_who_stops_waiting_does_not_stop_the_others(patch: Patches) -> None:
    leaving, staying = (asyncio.create_task(patch(n, weight=2)) for n in (1, 2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).number == 3


async def test_while_earlier_ones_are_being_delivered_the_others_meet(
    patch: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise there would be one revision more that waits for its delivery in each pause, without an end."""
    monkeypatch.setattr(batching, "PAUSE", 0.0)
    monkeypatch.setattr(batching, "BEHIND", 60.0)
    catalog, may_go, waits = patch.catalog, asyncio.Event(), asyncio.Event()
    deliver, until_idle = catalog._deliver, catalog.until_idle

    async def slow(delivery: Any) -> None:
        await may_go.wait()
        await deliver(delivery)

    async def told(patience: float) -> None:
        waits.set()
        await until_idle(patience)

    monkeypatch.setattr(catalog, "_deliver", slow)
    monkeypatch.setattr(catalog, "until_idle", told)
    patches = Patches(catalog)
    async with asyncio.timeout(20):
        assert (await patches(1, state="draining")).number == 3
        waits.clear()
        later = [asyncio.create_task(patches(n, state="draining")) for n in range(2, 50)]
        await waits.wait()
        later.append(asyncio.create_task(patches(50, state="draining")))
        await asyncio.sleep(0)
        may_go.set()
        assert {(await each).number for each in later} == {4}


async def test_a_delivery_that_stands_still_does_not_keep_changes_from_being_made(
    patch: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "BEHIND", 0.05)
    monkeypatch.setattr(patch.catalog, "_deliver", lambda _: asyncio.Event().wait())
    patches = Patches(patch.catalog)
    async with asyncio.timeout(20):
        assert [(await patches(n, state="draining")).number for n in (1, 2, 3)] == [3, 4, 5]
