"""The catalogue over a store: planned, written, in force, delivered, in that order; and what is held."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from catalogues import OF_FILES, catalogue, gone, over, until, upstream, wants
from structlog.testing import capture_logs

from xds_server.catalog.contents import Contents
from xds_server.catalog.earlier import earlier
from xds_server.catalog.errors import NotOwnedError
from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import Attribution
from xds_server.catalog.store.store import Committed

MANY = [f"10.0.0.{n + 1}" for n in range(20)]
FULL = upstream("a", *MANY)
SERVICE = Attribution("xds-server", source="xds-server")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


async def test_a_change_is_in_force_and_delivered_and_there_after_a_restart(url: str) -> None:
    async with catalogue(url) as (catalog, delivered):
        made = await catalog.commit(wants(upstream("a", "10.0.0.1"), upstream("b")))
        assert (made.number, made.is_held, {name for _, name in made.changes}) == (1, False, {"a", "b"})
        made = await catalog.commit(wants(remove=gone("b")))
        await catalog.until_delivered(made.number)
        assert delivered.numbers == [1, 2]
        assert set(delivered.definitions.upstreams) == {"a"}
        assert await catalog.commit(wants(upstream("a", "10.0.0.1"))) == (2, None, {})
    async with catalogue(url) as (catalog, delivered):
        await catalog.until_delivered(2)
        assert delivered.numbers == [2], "everything at once"
        assert set(delivered.definitions.upstreams) == {"a"}
        assert catalog.contents.records["upstream", "a"].held.revision == 1


async def test_what_is_refused_changes_nothing(url: str) -> None:
    async with catalogue(url) as (catalog, _):
        await catalog.commit(wants(upstream("a"), by=OF_FILES))
        with pytest.raises(NotOwnedError):
            await catalog.commit(wants(upstream("a", "10.0.0.1"), upstream("b")))
        assert (catalog.head, catalog.store.head(), set(catalog.contents.records)) == (1, 1, {("upstream", "a")})


async def test_writers_at_once_get_a_revision_each(url: str) -> None:
    async with catalogue(url) as (catalog, delivered):
        outcomes = await asyncio.gather(*(catalog.commit(wants(upstream(f"u{n}"))) for n in range(20)))
        assert [each.number for each in outcomes] == [*range(1, 21)]
        await catalog.until_delivered(20)
        assert delivered.numbers == [*range(1, 21)]


async def test_who_stops_waiting_does_not_stop_the_change(url: str) -> None:
    async with catalogue(url) as (catalog, delivered):
        writing = asyncio.create_task(catalog.commit(wants(upstream("a"))))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await catalog.until_delivered(1)
        assert set(delivered.definitions.upstreams) == {"a"}
        assert (await catalog.commit(wants(upstream("b")))).number == 2


async def test_a_listener_that_fails_does_not_undo_what_is_committed(url: str) -> None:
    async with catalogue(url) as (catalog, _):
        heard: list[int] = []

        def fail(_: Committed) -> None:
            raise RuntimeError

        catalog.listeners += [fail, lambda one: heard.append(one.revision.number)]
        with capture_logs() as logs:
            assert (await catalog.commit(wants(upstream("a")))).number == 1
        assert heard == [1]
        assert "revision.listener_failed" in {log["event"] for log in logs}


# When delivery begins


async def test_a_new_store_delivers_nothing_before_somebody_defines_something(url: str) -> None:
    async with catalogue(url) as (catalog, delivered):
        assert catalog.is_new
        await asyncio.sleep(0.05)
        assert delivered.numbers == []
        await catalog.commit(wants(upstream("a")))
        assert not catalog.is_new
        await until(lambda: delivered.numbers == [1])


async def test_where_files_are_expected_nothing_is_delivered_before_them(url: str) -> None:
    async with catalogue(url, awaits_files=True) as (catalog, delivered):
        assert not catalog.is_new
        await catalog.commit(wants(upstream("a")))
        await asyncio.sleep(0.05)
        assert delivered.numbers == []
        await catalog.commit(wants(by=OF_FILES, is_news=True))
        await until(lambda: delivered.numbers == [2])
        assert set(delivered.definitions.upstreams) == {"a"}


async def test_what_a_definition_was_before_newest_first_and_as_far_as_it_was_in_force(url: str) -> None:
    def hosts(found: Any) -> list[list[str]]:
        return [[target.host for target in each.value.targets] for each in found]

    async with catalogue(url) as (catalog, _):
        assert await earlier(catalog, ("upstream", "a")) == []
        for value in (upstream("a", "10.0.0.1"), FULL):
            await catalog.commit(wants(value, upstream("b")))
        assert (await catalog.commit(wants(upstream("a")))).is_held, "never in force"
        await catalog.commit(wants(remove=gone("b")))
        await catalog.commit(wants(upstream("a", *MANY, "10.0.1.9")))
        assert hosts(await earlier(catalog, ("upstream", "a"))) == [MANY, ["10.0.0.1"]]
        assert await earlier(catalog, ("upstream", "b")) == [], "it is none now"


async def test_what_a_definition_was_is_not_waited_for_while_the_store_is_lost(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with catalogue(url) as (catalog, _):
        for value in (upstream("a", "10.0.0.1"), upstream("a", "10.0.0.2")):
            await catalog.commit(wants(value))
        assert await earlier(catalog, ("upstream", "a"))
        asked: list[object] = []

        def lost(*arguments: object) -> None:
            asked.append(arguments)
            raise StoreError("gone")

        monkeypatch.setattr(catalog.store, "earlier", lost)
        assert await earlier(catalog, ("upstream", "a")) == []
        assert len(asked) == 1
        catalog.problem = "gone"
        assert await earlier(catalog, ("upstream", "a")) == []
        assert len(asked) == 1, "it is known to be lost"


# What is held


async def test_what_is_held_serves_nothing_until_it_is_confirmed(url: str) -> None:
    async with catalogue(url) as (catalog, delivered):
        await catalog.commit(wants(FULL))
        held = await catalog.commit(wants(remove=gone("a")))
        assert held.is_held
        assert (held.number, catalog.head, set(catalog.held)) == (2, 2, {2})
        assert ("upstream", "a") in catalog.contents
        assert await catalog.commit(wants(FULL)) == (1, None, {}), "what is in force, which Envoys are waited for with"
        made = await catalog.commit(wants(remove=gone("a"), refers_to=2, confirmed=True))
        assert (made.number, made.is_held, catalog.held) == (3, False, {})
        await catalog.until_delivered(3)
        assert delivered.numbers == [1, 3]
        assert set(delivered.definitions.upstreams) == set()
        states = [(each.number, each.state) for each in catalog.store.revisions()]
        assert states == [(3, "applied"), (2, "released"), (1, "applied")]


async def test_what_is_held_is_still_after_a_restart_and_keeps_its_number(url: str) -> None:
    async with catalogue(url) as (catalog, _):
        await catalog.commit(wants(FULL))
        await catalog.commit(wants(remove=gone("a")))
    async with catalogue(url) as (catalog, _):
        assert set(catalog.held) == {2}
        again = await catalog.commit(wants(remove=gone("a")))
        assert (again.number, again.is_held, catalog.head) == (2, True, 2)


async def states_after(url: str, *edits: Any) -> dict[int, str]:
    """The states of all revisions, after one with everything, and then `edits`."""
    async with catalogue(url) as (catalog, _):
        await catalog.commit(wants(FULL, upstream("b", "10.1.0.1")))
        for edit in edits:
            await catalog.commit(edit)
        assert set(catalog.held) == {each.revision.number for each in catalog.store.held()}
        return {each.number: each.state for each in reversed(catalog.store.revisions())}


async def test_the_same_source_takes_its_place_when_it_is_about_the_same(url: str) -> None:
    found = await states_after(url, wants(remove=gone("a")), wants(upstream("a", *MANY, "10.0.1.1")))
    assert found == {1: "applied", 2: "superseded", 3: "applied"}


async def test_another_change_leaves_it_waiting(url: str) -> None:
    found = await states_after(url, wants(remove=gone("a")), wants(upstream("c")))
    assert found == {1: "applied", 2: "held", 3: "applied"}
    assert await states_after(url + "2", wants(remove=gone("a")), over_a) == {1: "applied", 2: "held", 3: "applied"}


def over_a(_: Contents) -> Proposal:
    return Proposal(SERVICE, over("a", "10.0.0.1:80", state="draining"))


async def test_files_say_everything_anew(url: str) -> None:
    def of_files(*values: Any, **more: Any) -> Any:
        return wants(*values, by=OF_FILES, **more)

    async with catalogue(url) as (catalog, _):
        await catalog.commit(of_files(FULL))
        await catalog.commit(of_files(remove=gone("a")))
        await catalog.commit(of_files(upstream("b")))
        assert catalog.held == {}
        await catalog.commit(of_files(remove=gone("a")))
        assert set(catalog.held) == {4}
        # The mount is back, and everything is as it was: what was held must not be confirmed by mistake any more.
        made = await catalog.commit(of_files(FULL, upstream("b")))
        assert (made.number, made.changes, catalog.held) == (5, {}, {})
        assert [each.state for each in catalog.store.revisions()] == [
            "applied",
            "superseded",
            "applied",
            "superseded",
            "applied",
        ]
        assert (await catalog.commit(of_files(FULL, upstream("b")))).revision is None


async def test_going_back_to_a_revision_that_is_held_does_not_release_it(url: str) -> None:
    found = await states_after(url, wants(remove=gone("a")), wants(upstream("c"), refers_to=2))
    assert found == {1: "applied", 2: "held", 3: "applied"}
