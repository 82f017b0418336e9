"""Many definitions: how they reach a process that serves meanwhile, and what one edit among them costs."""

import asyncio
import gc
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xds_server.catalog import child
from xds_server.catalog.changes import Change
from xds_server.catalog.worker import PART

Follow = Callable[..., AbstractAsyncContextManager[Any]]
FILES, UPSTREAMS, TARGETS = 100, 10, 10


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SimpleNamespace]]:
    """Each part of a change as it is unpickled: its size, in which thread, and whether the collector was awake."""
    seen: list[SimpleNamespace] = []

    def loads(body: bytes) -> object:
        message = pickle.loads(body)
        if isinstance(message, Change):
            size = sum(1 + len(placed.value.targets) for placed in message.upstreams.values())
            seen.append(SimpleNamespace(size=size, thread=threading.current_thread(), collecting=gc.isenabled()))
        return message

    monkeypatch.setattr(child, "pickle", SimpleNamespace(loads=loads))
    yield seen
    gc.unfreeze()


def definitions(file: int, port: int = 80) -> str:
    lines = ["upstreams:"]
    for number in range(UPSTREAMS):
        targets = ", ".join(f"{{host: 10.0.{file}.{target}, port: {port}}}" for target in range(TARGETS))
        lines.append(f"  - {{name: u{file}-{number}, targets: [{targets}]}}")
        port = 80
    return "\n".join(lines)


async def test_a_thousand_upstreams_with_ten_targets_each(
    tmp_path: Path, follow: Follow, taken: list[SimpleNamespace]
) -> None:
    for file in range(FILES):
        (tmp_path / f"{file}.yaml").write_text(definitions(file))
    gaps = [0.0]

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    begun = time.perf_counter()
    async with follow(tmp_path) as files:
        loaded = time.perf_counter() - begun
        assert len(files.ports) == FILES * UPSTREAMS
        whole = FILES * UPSTREAMS * (1 + TARGETS)
        assert sum(part.size for part in taken) == whole
        assert all(part.size <= PART + TARGETS for part in taken)
        assert all(part.thread is not threading.main_thread() for part in taken)
        assert [part.collecting for part in taken] == [True] * child.LARGE + [False] * (len(taken) - child.LARGE)
        assert len(taken) > child.LARGE
        assert gc.isenabled()
        assert gc.get_freeze_count() > whole

        begun = time.perf_counter()
        (tmp_path / "7.yaml").write_text(definitions(7, port=81))
        await files.until(lambda: files.ports["u7-0"] == 81)
        edited = time.perf_counter() - begun
        assert [len(change) for change in files.changes] == [FILES * UPSTREAMS, 1]
        ticking.cancel()
    print(
        f"loaded in {loaded:.2f} s, one edit in {edited * 1000:.0f} ms, event loop held {max(gaps) * 1000:.0f} ms at most"
    )
