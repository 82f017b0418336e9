"""A store that fails or falls silent: every error answer is true, what is in force goes on, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from catalogues import catalogue, until, upstream, wants
from sqlalchemy import text
from structlog.testing import capture_logs

from xds_server.catalog import calls, writing
from xds_server.catalog.catalog import Catalog
from xds_server.catalog.following import follow
from xds_server.catalog.store.engine import InDoubtError, StoreError
from xds_server.catalog.store.store import BehindError, Store

SHORT = 0.3


@pytest_asyncio.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """With one upstream."""
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, _):
        await catalog.commit(wants(upstream("a")))
        yield catalog


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PATIENCE", SHORT)
    monkeypatch.setattr(writing, "SETTLING", SHORT)


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Ends what `hang` began."""
    event = threading.Event()
    yield event
    event.set()


def failing(*_: Any, **__: Any) -> Any:
    raise StoreError("the store cannot be written: gone")


async def test_it_is_told_once_refuses_at_once_and_is_found_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(catalog.store, "commit", failing)
            patch.setattr(catalog.store, "check", failing)
            for _ in range(3):
                with pytest.raises(StoreError, match="gone"):
                    await catalog.commit(wants(upstream("b")))
            with pytest.raises(StoreError, match="gone"):
                await catalog.look()
            assert "gone" in catalog.problem
            assert set(catalog.contents.records) == {("upstream", "a")}
        with pytest.raises(StoreError):
            await catalog.commit(wants(upstream("b")))
        await catalog.look()
        assert catalog.problem == ""
        assert (await catalog.commit(wants(upstream("b")))).number == 2
    assert [log["event"] for log in logs if log["event"].startswith("store.")] == ["store.lost", "store.found"]


async def test_one_that_cannot_be_written_at_a_start_is_served_and_lost(catalog: Catalog, tmp_path: Path) -> None:
    """As with a file of another user."""
    with catalog.store.engine.begin() as connection:
        connection.execute(
            text("CREATE TRIGGER no BEFORE UPDATE ON alembic_version BEGIN SELECT RAISE(FAIL, 'readonly'); END")
        )
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (again, delivered):
        await until(lambda: delivered.numbers)
        assert "a" in delivered.definitions.upstreams
        assert again.problem == "the store cannot be written: readonly"
        with again.store.engine.begin() as connection:
            connection.execute(text("DROP TRIGGER no"))
        await again.look()
        assert again.problem == ""


async def test_one_that_can_be_read_but_not_written_stays_lost(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a standby."""
    monkeypatch.setattr(catalog.store, "check", failing)
    monkeypatch.setattr(catalog.store, "commit", failing)
    with pytest.raises(StoreError):
        await catalog.commit(wants(upstream("b")))
    with pytest.raises(StoreError):
        await catalog.look()
    assert catalog.problem


async def test_following_finds_it_by_itself(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    following = asyncio.create_task(follow(catalog))
    with monkeypatch.context() as patch:
        patch.setattr(catalog.store, "since", failing)
        await until(lambda: catalog.problem)
    await until(lambda: not catalog.problem)
    following.cancel()


async def test_a_commit_whose_answer_was_lost_is_settled(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    real = catalog.store.commit

    def made_but_lost(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise InDoubtError("the connection broke")

    def lost(*_: Any, **__: Any) -> None:
        raise InDoubtError("the connection broke")

    monkeypatch.setattr(catalog.store, "commit", made_but_lost)
    assert (await catalog.commit(wants(upstream("b")))).number == 2
    monkeypatch.setattr(catalog.store, "commit", lost)
    with pytest.raises(StoreError, match="the connection broke") as error:
        await catalog.commit(wants(upstream("c")))
    assert not isinstance(error.value, InDoubtError), "it is known that it was not made"
    assert catalog.store.head() == 2


async def test_doubt_is_said_and_what_was_made_all_the_same_is_taken_in(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = catalog.store.commit
    with monkeypatch.context() as patch:

        def made_but_lost(*arguments: Any, **options: Any) -> None:
            real(*arguments, **options)
            raise InDoubtError("the connection broke")

        patch.setattr(catalog.store, "commit", made_but_lost)
        patch.setattr(catalog.store, "settle", failing)
        with pytest.raises(InDoubtError, match="whether revision 2 was made will be in the history"):
            await catalog.commit(wants(upstream("b")))
    assert ("upstream", "b") not in catalog.contents
    await catalog.look()
    assert ("upstream", "b") in catalog.contents
    assert (await catalog.commit(wants(upstream("c")))).number == 3


async def test_one_that_stands_still_is_given_up_on_and_commits_nothing_later(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, impatient: None, let_go: threading.Event
) -> None:
    real, ended = Store.commit, threading.Event()

    def slow(*arguments: Any, **options: Any) -> None:
        let_go.wait(20)
        try:
            real(catalog.store, *arguments, **options)
        finally:
            ended.set()

    monkeypatch.setattr(catalog.store, "commit", slow)
    start = time.monotonic()
    answers = await asyncio.gather(
        *(catalog.commit(wants(upstream(f"u{n}"))) for n in range(5)), return_exceptions=True
    )
    assert time.monotonic() - start < 4 * SHORT, "those that wait for their turn do not wait for it, too"
    assert [type(answer) for answer in answers] == [calls.SilentError, *[StoreError] * 4]
    let_go.set()
    await until(ended.is_set)
    assert catalog.store.head() == 1, "whoever was told no must not see it happen"


async def test_one_that_falls_silent_in_the_commit_itself_leaves_doubt(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, impatient: None, let_go: threading.Event
) -> None:
    real = Store.commit

    def slow_to_answer(*arguments: Any, **options: Any) -> None:
        real(catalog.store, *arguments, **options)
        let_go.wait(20)

    def silent(*_: Any) -> bool:
        return let_go.wait(20)

    with monkeypatch.context() as patch:
        patch.setattr(catalog.store, "commit", slow_to_answer)
        patch.setattr(catalog.store, "settle", silent)
        with pytest.raises(InDoubtError, match="nothing came within"):
            await catalog.commit(wants(upstream("b")))
    let_go.set()
    await catalog.look()
    assert ("upstream", "b") in catalog.contents


async def test_a_slow_answer_that_can_be_settled_is_a_yes(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, impatient: None, let_go: threading.Event
) -> None:
    real = Store.commit

    def slow_to_answer(*arguments: Any, **options: Any) -> None:
        real(catalog.store, *arguments, **options)
        let_go.wait(20)

    monkeypatch.setattr(catalog.store, "commit", slow_to_answer)
    assert (await catalog.commit(wants(upstream("b")))).number == 2
    assert ("upstream", "b") in catalog.contents


async def test_other_replicas_that_are_always_faster(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def behind(*_: Any, **__: Any) -> None:
        raise BehindError

    monkeypatch.setattr(catalog.store, "commit", behind)
    with pytest.raises(StoreError, match="100 times in a row: try again"):
        await catalog.commit(wants(upstream("b")))


async def test_who_writes_does_not_wait_for_whoever_looks_for_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, let_go: threading.Event
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(catalog.store, "commit", failing)
        with pytest.raises(StoreError):
            await catalog.commit(wants(upstream("b")))
    real = Store.check

    def slow() -> None:
        let_go.wait(20)
        real(catalog.store)

    monkeypatch.setattr(catalog.store, "check", slow)
    looking = asyncio.create_task(catalog.look())
    await until(catalog._turn.locked)
    async with asyncio.timeout(SHORT):
        with pytest.raises(StoreError, match="gone"):
            await catalog.commit(wants(upstream("b")))
    let_go.set()
    await looking
    assert (await catalog.commit(wants(upstream("b")))).number == 2
