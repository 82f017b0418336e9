"""When the files are looked at. Each `next` blocks until there is an occasion, so it is waited for in a thread."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watchfiles

from xds_server.catalog import watcher
from xds_server.catalog.watcher import occasions


@pytest.fixture
def rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at without cause, so that only the cause under test can be what is seen."""
    monkeypatch.setattr(watcher, "RECHECK", 30.0)  # longer than `soon` waits


async def soon(looks: Iterator[None]) -> None:
    await asyncio.wait_for(asyncio.to_thread(next, looks), 20)


async def caused(looks: Iterator[None], cause: Callable[[], object]) -> None:
    """`cause` must be followed by an occasion."""
    waiting = asyncio.create_task(soon(looks))
    cause()
    await waiting


async def standing(*roots: Path) -> Iterator[None]:
    """The occasions after the first two: the one at once, and the one when the watch stands."""
    looks = occasions([str(root) for root in roots], blind=pytest.fail)
    await soon(looks)
    await soon(looks)
    return looks


async def test_changes_below_a_directory(tmp_path: Path, rare: None) -> None:
    looks = await standing(tmp_path)
    await caused(looks, lambda: (tmp_path / "a.yaml").write_text("1"))
    await caused(looks, lambda: (tmp_path / "sub").mkdir())
    await caused(looks, lambda: (tmp_path / "sub" / "b.yaml").write_text("1"))
    await caused(looks, lambda: (tmp_path / "a.yaml").unlink())


async def test_a_file_root_a_missing_root_and_a_link(tmp_path: Path, rare: None) -> None:
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.mkdir()
    two.mkdir()
    link.symlink_to(one)
    file, missing = tmp_path / "file.yaml", tmp_path / "missing"
    file.write_text("1")
    looks = await standing(file, missing, link)
    await caused(looks, lambda: file.write_text("22"))
    await soon(looks)  # a root that changed is watched anew
    await caused(looks, missing.mkdir)
    await soon(looks)
    await caused(looks, lambda: (missing / "a.yaml").write_text("1"))

    def point_elsewhere() -> None:
        (tmp_path / "new").symlink_to(two)
        (tmp_path / "new").replace(link)

    await caused(looks, point_elsewhere)
    await soon(looks)
    await caused(looks, lambda: (two / "a.yaml").write_text("1"))


async def test_without_a_cause_everything_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "RECHECK", 0.0)
    looks = await standing(tmp_path)
    await soon(looks)
    await soon(looks)


async def test_without_events_files_are_polled_and_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> Iterator[set[object]]:
        raise OSError("OS file watch limit reached")
        yield set()

    monkeypatch.setattr(watchfiles, "watch", exhausted)
    monkeypatch.setattr(watcher, "RECHECK_BLIND", 0.0)
    told: list[str] = []
    looks = occasions([str(tmp_path)], blind=told.append)
    for _ in range(4):
        await soon(looks)
    assert told == ["OS file watch limit reached"]


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("/d/a.yaml", True),
        ("/d/..data", True),
        ("/d/..2026_11_22/a.yaml", True),
        ("/home/.config/d/a.yaml", True),
        ("/d/.a.yaml.swp", False),
        ("/d/.git/index.lock", False),
    ],
)
def test_hidden_files_are_no_occasion(path: str, matters: bool) -> None:
    assert watcher._relevant(watchfiles.Change.modified, path) is matters
