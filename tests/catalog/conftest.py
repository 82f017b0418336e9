"""A reader and a running file source with everything that they said, and short ways to write definition files."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.files import FileSource
from xds_server.catalog.reader import Reader, Scan


def written(*upstreams: str, port: int = 80) -> str:
    """A definition file's text: each of `upstreams` with one target at `port`, which edits change."""
    lines = [f"  - {{name: {name}, targets: [{{host: 10.0.0.1, port: {port}}}]}}" for name in upstreams]
    return "\n".join(["upstreams:", *lines] if lines else ["upstreams: []"]) + "\n"


class Followed:
    """A file source under test."""

    def __init__(self, *roots: Path) -> None:
        self.source = FileSource(roots, self._on_change)
        self.changes: list[Change] = []
        self.definitions = Definitions()
        self.logs: list[Any] = []

    async def _on_change(self, change: Change) -> None:
        self.changes.append(change)
        self.definitions.apply(change)

    @property
    def ports(self) -> dict[str, int]:
        """What is in force: the port of each upstream."""
        return {name: placed.value.targets[0].port for name, placed in self.definitions.upstreams.items()}

    def said(self, event: str, **fields: object) -> int:
        """How often `event` was logged with `fields`."""
        return sum(line["event"] == event and fields.items() <= line.items() for line in self.logs)

    async def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Wait until `condition` holds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pytest.fail(f"in force: {self.ports}; problems: {self.source.problems}; log: {self.logs}")


@asynccontextmanager
async def following(*roots: Path, loaded: bool = True) -> AsyncIterator[Followed]:
    followed = Followed(*roots)
    with capture_logs() as followed.logs:
        run = asyncio.create_task(followed.source.run())
        try:
            if loaded:
                await followed.until(lambda: run.done() or followed.source.ready.is_set())
            yield followed
            assert not run.done(), "the source must go on until it is cancelled"
        finally:
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run


@pytest.fixture
def follow() -> Callable[..., AbstractAsyncContextManager[Followed]]:
    return following


@pytest.fixture
def text() -> Callable[..., str]:
    return written


class Read:
    """A reader of one directory, and what it has put in force."""

    def __init__(self, *roots: Path, held: Definitions | None = None) -> None:
        self.roots = roots
        self.reader = Reader(tuple(map(str, roots)), held)
        self.definitions = held or Definitions()
        self.last: Scan

    def scan(self) -> Scan:
        self.last = self.reader.scan()
        self.definitions.apply(self.last.change)
        assert (self.last.upstreams, self.last.gateways) == (
            len(self.definitions.upstreams),
            len(self.definitions.gateways),
        )
        return self.last

    def successor(self) -> "Read":
        """A reader that takes over, as after the death of the child process."""
        return Read(*self.roots, held=Definitions(dict(self.definitions.upstreams), dict(self.definitions.gateways)))

    @property
    def ports(self) -> dict[str, int]:
        return {name: placed.value.targets[0].port for name, placed in self.definitions.upstreams.items()}

    @property
    def told(self) -> list[tuple[str, str]]:
        """The problems: name of the file, and field."""
        return [(os.path.basename(problem.path), problem.field) for problem in self.last.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def loaded(folder: Path, text: Callable[..., str]) -> Read:
    """a.yaml with upstream a, b.yaml with upstream b, both read."""
    (folder / "a.yaml").write_text(text("a"))
    (folder / "b.yaml").write_text(text("b"))
    read = Read(folder)
    scan = read.scan()
    assert (scan.ready, scan.problems, scan.files, read.ports) == (True, (), 2, {"a": 80, "b": 80})
    return read


@pytest.fixture
def reading() -> type[Read]:
    return Read
