"""Real files over a store: what a start finds, what a missing or empty directory takes away (nothing), and who reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from catalogues import Delivered, catalogue, gone, until, upstream, wants
from postgres import Postgres
from structlog.testing import capture_logs

from xds_server.catalog.catalog import Catalog
from xds_server.catalog.following import follow
from xds_server.catalog.reading import FileReading
from xds_server.catalog.store import postgres as limits
from xds_server.catalog.store.records import API


class Running:
    """A control plane without a network: a catalogue that follows its store and reads files."""

    def __init__(self, catalog: Catalog, delivered: Delivered, reading: FileReading, logs: list[Any]) -> None:
        self.catalog, self.delivered, self.reading, self.logs = catalog, delivered, reading, logs

    def said(self, event: str) -> int:
        return sum(log["event"] == event for log in self.logs)

    @property
    def reads(self) -> bool:
        """Whether it is the replica that reads the files."""
        return self.reading._may.is_set()

    @property
    def serves(self) -> dict[str, int]:
        """The port of each upstream that is served."""
        return {name: placed.value.targets[0].port for name, placed in self.delivered.definitions.upstreams.items()}


@asynccontextmanager
async def running(url: str, *roots: Path) -> AsyncIterator[Running]:
    with capture_logs() as logs:
        async with catalogue(url, awaits_files=bool(roots)) as (catalog, delivered):
            following = asyncio.create_task(follow(catalog))
            files = FileReading(catalog, roots)
            reading = asyncio.create_task(files.run())
            try:
                yield Running(catalog, delivered, files, logs)
                assert not following.done()
                assert reading.done() == (not roots)
            finally:
                for task in (following, reading):
                    task.cancel()
                await asyncio.gather(following, reading, return_exceptions=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def many(text: Callable[..., str]) -> str:
    """Enough that the guard would look."""
    return text(*(f"u{n}" for n in range(20)))


async def test_files_are_served_and_served_again_after_a_restart(
    url: str, folder: Path, text: Callable[..., str]
) -> None:
    (folder / "a.yaml").write_text(text("a"))
    async with running(url, folder) as here:
        await until(lambda: here.serves == {"a": 80})
    (folder / "a.yaml").write_text(text("a", port=81))
    async with running(url, folder) as here:
        await until(lambda: here.delivered.numbers == [1, 2])
        assert here.serves == {"a": 81}


async def test_a_file_that_broke_while_nobody_looked_keeps_its_last_good_definitions(
    url: str, folder: Path, text: Callable[..., str]
) -> None:
    (folder / "a.yaml").write_text(text("a"))
    (folder / "b.yaml").write_text(text("b"))
    async with running(url, folder) as here:
        await until(lambda: here.serves == {"a": 80, "b": 80})
    (folder / "a.yaml").write_text("upstreams: [")
    (folder / "b.yaml").write_text(text("b", port=81))
    async with running(url, folder) as here:
        await until(lambda: here.serves == {"a": 80, "b": 81})
        assert here.said("definitions.broken") == 1
        (folder / "a.yaml").write_text(text("a", port=82))
        await until(lambda: here.serves == {"a": 82, "b": 81})


async def test_with_a_new_store_a_broken_file_is_waited_for(url: str, folder: Path, text: Callable[..., str]) -> None:
    (folder / "a.yaml").write_text("upstreams: [")
    (folder / "b.yaml").write_text(text("b"))
    async with running(url, folder) as here:
        await until(lambda: here.said("definitions.not_served"))
        await here.catalog.commit(wants(upstream("of-api", "10.0.0.1")))
        assert here.delivered.numbers == []
        (folder / "a.yaml").write_text(text("a"))
        await until(lambda: here.serves == {"a": 80, "b": 80, "of-api": 80})
        assert len(here.delivered.numbers) == 1


@pytest.mark.parametrize("how", ["missing", "empty", "elsewhere"])
async def test_a_directory_that_is_not_there_at_a_start_takes_nothing(
    url: str, folder: Path, many: str, text: Callable[..., str], how: str
) -> None:
    few = how == "elsewhere"
    (folder / "a.yaml").write_text(text("u0", "u1") if few else many)
    async with running(url, folder) as here:
        await until(lambda: len(here.serves) == (2 if few else 20))
        before = here.serves
    if how != "elsewhere":
        (folder / "a.yaml").unlink()
    if how == "missing":
        folder.rmdir()
    async with running(url, folder.parent / "misspelt" if few else folder) as here:
        await until(lambda: here.said("definitions.broken"))
        await until(lambda: here.serves == before)
        assert (here.catalog.head, here.catalog.held) == (1, {})


@pytest.mark.parametrize("how", ["missing", "empty"])
async def test_a_directory_that_goes_later_takes_nothing(url: str, folder: Path, many: str, how: str) -> None:
    (folder / "a.yaml").write_text(many)
    async with running(url, folder) as here:
        await until(lambda: len(here.serves) == 20)
        (folder / "a.yaml").unlink()
        if how == "missing":
            folder.rmdir()
        await until(lambda: here.said("definitions.broken"))
        assert (here.catalog.head, here.catalog.held, len(here.serves)) == (1, {}, 20)


async def test_files_that_are_emptied_are_held_and_mended(url: str, folder: Path, many: str) -> None:
    (folder / "a.yaml").write_text(many)
    async with running(url, folder) as here:
        await until(lambda: len(here.serves) == 20)
        (folder / "a.yaml").write_text("upstreams: []\n")
        await until(lambda: here.catalog.held)
        assert len(here.serves) == 20
        (folder / "a.yaml").write_text(many)
        await until(lambda: not here.catalog.held)
        assert here.delivered.numbers[-1] in (1, 3)
        assert len(here.serves) == 20


async def test_the_api_and_files_find_their_way(url: str, folder: Path, text: Callable[..., str]) -> None:
    (folder / "a.yaml").write_text(text("a", "b"))
    async with running(url) as here:
        await here.catalog.commit(wants(upstream("a", "10.9.9.9")))
    async with running(url, folder) as here:
        await until(lambda: "b" in here.serves)
        assert here.catalog.contents.records["upstream", "a"].owner == API
        await here.catalog.commit(wants(remove=gone("a")))
        await until(lambda: here.catalog.contents.upstream("a") is not None)
        assert here.catalog.contents.is_of_a_file(("upstream", "a"))


async def test_without_roots_what_files_left_may_be_taken_over(
    url: str, folder: Path, text: Callable[..., str]
) -> None:
    (folder / "a.yaml").write_text(text("a"))
    async with running(url, folder) as here:
        await until(lambda: here.serves)
    async with running(url) as here:
        await until(lambda: here.serves == {"a": 80})
        assert not here.catalog.contents.is_of_a_file(("upstream", "a"))
        await here.catalog.commit(wants(upstream("a", "10.0.0.1", "10.0.0.2")))
    async with running(url, folder) as here:
        await until(lambda: here.said("definition.left_out"))
        assert here.catalog.contents.records["upstream", "a"].owner == API


# Several replicas


async def test_one_replica_reads_and_another_takes_over(
    postgresql: Postgres, folder: Path, text: Callable[..., str]
) -> None:
    url = postgresql.database()
    (folder / "a.yaml").write_text(text("a"))
    async with running(url, folder) as first, running(url, folder) as second:
        await until(lambda: first.serves == second.serves == {"a": 80})
        assert first.reads + second.reads == 1
        (folder / "a.yaml").write_text(text("a", port=81))
        await until(lambda: first.serves == second.serves == {"a": 81})
        for port in (82, 83, 84):
            reader = first if first.reads else second
            before = second.said("definitions.not_reading")  # the inner one hears the log of both
            end_the_reader(postgresql, url)
            await until(lambda before=before: second.said("definitions.not_reading") > before, 5)  # type: ignore[misc]
            await until(lambda: first.reads + second.reads == 1, 5)
            (folder / "a.yaml").write_text(text("a", port=port))
            await until(lambda port=port: first.serves == second.serves == {"a": port})  # type: ignore[misc]
    assert reader.catalog.head == 5, "however many read, each edit is one revision"


async def test_when_the_reader_ends_another_one_goes_on(
    postgresql: Postgres, folder: Path, text: Callable[..., str]
) -> None:
    url = postgresql.database()
    (folder / "a.yaml").write_text(text("a"))
    async with AsyncExitStack() as leaving:
        reader = await leaving.enter_async_context(running(url, folder))
        await until(lambda: reader.reads and reader.serves)
        async with running(url, folder) as other:
            await until(lambda: other.serves == {"a": 80})
            assert not other.reads
            await leaving.aclose()
            await until(lambda: other.reads, 5)
            (folder / "a.yaml").write_text(text("a", port=81))
            await until(lambda: other.serves == {"a": 81})


def end_the_reader(server: Postgres, url: str) -> None:
    """Break the connection on which the reader holds its role."""
    ended = server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND datname = %s AND objid = %s",
        url.rpartition("/")[2],
        limits.READER_LOCK,
    )
    assert len(ended) == 1


async def test_a_replica_that_does_not_read_learns_that_files_say_nothing(postgresql: Postgres, folder: Path) -> None:
    url = postgresql.database()
    (folder / "a.yaml").write_text("upstreams: []\n")
    async with running(url, folder) as first, running(url, folder) as second:
        await until(lambda: first.delivered.numbers == second.delivered.numbers == [1])
        assert first.reads + second.reads == 1


async def test_what_others_may_read_is_of_a_file_on_every_replica(
    postgresql: Postgres, folder: Path, text: Callable[..., str]
) -> None:
    url = postgresql.database()
    (folder / "a.yaml").write_text(text("a"))
    async with running(url, folder) as first, running(url) as second:
        await until(lambda: first.serves == second.serves == {"a": 80})
        assert second.catalog.contents.is_of_a_file(("upstream", "a"))


async def test_what_another_root_left_goes_once_a_missing_root_is_there(
    url: str, folder: Path, text: Callable[..., str]
) -> None:
    """Until then it may have moved there."""
    old, kept, new = (folder / name for name in ("old", "kept", "new"))
    for root in (old, kept):
        root.mkdir()
        (root / "a.yaml").write_text(text(root.name))
    async with running(url, old, kept) as here:
        await until(lambda: here.serves == {"old": 80, "kept": 80})
    async with running(url, kept, new) as here:
        await until(lambda: here.said("definitions.broken"))
        await until(lambda: here.said("definitions.loaded"))
        assert here.serves == {"old": 80, "kept": 80}
        new.mkdir()
        (new / "a.yaml").write_text("upstreams: []\n")
        await until(lambda: here.serves == {"kept": 80})
