"""Watches every stream of this process and collects what breaks the protocol's rules, in whatever test it happens.

`install` once; from then on each violation is written to the directory that `XDS_RECORDER` names, or given to whoever
`diverted` them. Server processes of tests do the same (`recorded_server`), so that one directory has it all.
"""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from recorder_stream import StreamRecord

from xds_server.xds import Resource
from xds_server.xds.delta import DeltaStream
from xds_server.xds.stream import Stream
from xds_server.xds.unanswered import Response

DIRECTORY: Final = "XDS_RECORDER"
"""The environment variable."""
MOST: Final = 5
"""Violations of one stream that are told. What follows the first may follow from it."""

_records: WeakKeyDictionary[Stream[Any], StreamRecord] = WeakKeyDictionary()
_violations: WeakKeyDictionary[Stream[Any], int] = WeakKeyDictionary()
_diverted: list[list[str]] = []
_numbers = itertools.count()


def install() -> None:
    """Wrap `Stream`. Calling it again does nothing."""
    if getattr(Stream, "recorded", False):
        return
    receive, respond, move, found = Stream.receive, Stream.respond, Stream.move, Stream.found

    def recorded_receive(self: Stream[Any], request: Any) -> None:
        receive(self, request)
        with _safely(self):
            type_url = request.type_url or self._type_url or ""
            unsettled = self._memory.recall(self.node.id, type_url) if self.node is not None else frozenset()
            _record(self).request(type_url, request, unsettled)

    def recorded_respond(self: Stream[Any], now: float) -> Response | None:
        group = self.group
        ready = group is not None and group.snapshot is not None
        if ready:
            with _safely(self):
                _record(self).follow(group, now)
        response = respond(self, now)
        with _safely(self):
            if response is not None:
                for violation in _record(self).check(response, group, now):
                    _report(self, violation)
            elif ready:
                _record(self).silent()
        return response

    def recorded_move(self: Stream[Any], group: Any) -> None:
        _record(self).note("moves to group", group.name or "''")
        move(self, group)

    def recorded_found(self: Stream[Any], refused: Resource, older: Resource) -> None:
        with _safely(self):
            _record(self).found(refused, older)
        found(self, refused, older)

    for wrapped in (recorded_receive, recorded_respond, recorded_move, recorded_found):
        setattr(Stream, wrapped.__name__.removeprefix("recorded_"), wrapped)
    Stream.recorded = True  # type: ignore[attr-defined]


def _record(stream: Stream[Any]) -> StreamRecord:
    record = _records.get(stream)
    if record is None:
        record = _records[stream] = StreamRecord(delta=isinstance(stream, DeltaStream))
    return record


@contextmanager
def _safely(stream: Stream[Any]) -> Iterator[None]:
    """A mistake of the recorder's is reported like a violation, and leaves the stream alone."""
    try:
        yield
    except Exception:
        _report(stream, f"the recorder failed: {traceback.format_exc()}")


def _report(stream: Stream[Any], violation: str) -> None:
    number = _violations[stream] = _violations.get(stream, 0) + 1
    if number > MOST:
        return
    node = stream.node.id if stream.node is not None else ""
    text = (
        f"{violation}\n  on the {stream.variant} stream {stream.number} of node {node!r}:\n{_record(stream).tell()}\n"
    )
    if _diverted:
        _diverted[-1].append(text)
    elif directory := os.environ.get(DIRECTORY):
        _write(Path(directory), text)


def _write(directory: Path, text: str) -> None:
    # Renamed when complete: the reader may be another process.
    name = f"{os.getpid()}-{next(_numbers)}"
    new = directory / f"{name}.new"
    new.write_text(text, encoding="utf-8")
    new.rename(directory / f"{name}.txt")


def collect(directory: Path) -> list[str]:
    """Take what was written to `directory`."""
    texts = []
    for path in sorted(directory.glob("*.txt")):
        texts.append(path.read_text(encoding="utf-8"))
        path.unlink()
    return texts


@contextmanager
def diverted() -> Iterator[list[str]]:
    """Collect this process's violations in the list that is given, in place of failing the test."""
    violations: list[str] = []
    _diverted.append(violations)
    try:
        yield violations
    finally:
        _diverted.pop()
