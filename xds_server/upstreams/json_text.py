"""JSON text as plain data: strict, and with a line for every part.

Python's decoder tells no positions, so what was decoded as a whole is decoded again piece by piece where a line is wanted:
each list or object on the way there is cut into its entries once.
"""

import bisect
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from xds_server.upstreams.model.base import Location
from xds_server.upstreams.tree import MAX_DEPTH, Mistake, Tree, UnreadableError, line_at

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_BLANK = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PIECE = json.JSONDecoder()


class _RefusedError(ValueError):
    """A number that JSON does not have, as it is written."""


def read_json(text: str) -> Tree:
    """Read one JSON document. Data is None when there is none. Raises `UnreadableError`."""
    if not text.strip(" \t\n\r"):
        return Tree(None, [], lambda _: 1)
    duplicates = False

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal duplicates
        made: dict[str, Any] = {}
        for key, value in pairs:
            made.setdefault(key, value)
        duplicates = duplicates or len(made) < len(pairs)
        return made

    try:
        data = json.loads(text, object_pairs_hook=fields, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise UnreadableError(error.lineno, f"not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise _too_deep(text) from None
    except _RefusedError as error:
        raise UnreadableError(
            _find(text, re.escape(str(error))), f"{str(error)[:40]} is not a number in JSON"
        ) from None
    except ValueError:  # Python's limit on the digits of a number
        raise UnreadableError(_find(text, "[0-9]{1000,}"), "a number of this length cannot be read") from None
    if _deeper_than(MAX_DEPTH, data):
        raise _too_deep(text)
    if _SURROGATE.search(text):
        _refuse_half_characters(text)
    places = _Places(text)
    return Tree(data, list(places.duplicates()) if duplicates else [], places.line)


def _refuse(text: str) -> Any:
    raise _RefusedError(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError(text)
    return value


def _tokens(text: str, pattern: str) -> Iterator[re.Match[str]]:
    """Where `pattern` matches outside of strings."""
    return (found for found in re.finditer(f"{_STRING}|{pattern}", text) if found[0][0] != '"')


def _find(text: str, pattern: str) -> int:
    return next((line_at(text, found.start()) for found in _tokens(text, pattern)), 1)


def _deeper_than(limit: int, data: Any) -> bool:
    level = [data]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep(text: str) -> UnreadableError:
    depth, line = 0, 1
    for found in _tokens(text, r"[\[\]{}]"):
        depth += 1 if found[0] in "[{" else -1
        if depth > MAX_DEPTH:
            line = line_at(text, found.start())
            break
    return UnreadableError(line, f"nested deeper than {MAX_DEPTH} levels")


def _refuse_half_characters(text: str) -> None:
    """JSON can write one half of a character above U+FFFF, which no text can hold: Envoy's messages are UTF-8."""
    for found in re.finditer(_STRING, text):
        try:
            json.loads(found[0]).encode()
        except UnicodeEncodeError:
            line = line_at(text, found.start())
            raise UnreadableError(line, f"{found[0][:60]} holds half of a surrogate pair") from None


class _Entry(NamedTuple):
    key: str | int
    start: int
    """Of the key, or of the item of a list."""
    value: int


class _Places:
    """Where the parts of a valid JSON text are."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._top = self._skip(0)
        self._line_ends = [found.start() for found in re.finditer("\n", text)]
        self._cut: dict[int, list[_Entry]] = {}
        self._by_key: dict[int, dict[str | int, _Entry]] = {}

    def line(self, location: Location) -> int:
        start = value = self._top
        for part in location:
            if value not in self._by_key:
                # Of two entries with one key the first is in the data.
                self._by_key[value] = {entry.key: entry for entry in reversed(self._entries(value))}
            entry = self._by_key[value].get(part)
            if entry is None:
                break
            start, value = entry.start, entry.value
        return self._line_of(start)

    def duplicates(self) -> Iterator[Mistake]:
        """Every key that its object already had."""
        waiting: list[tuple[Location, int]] = [((), self._top)]
        while waiting:
            location, at = waiting.pop()
            lines: dict[str | int, int] = {}
            for entry in self._entries(at):
                line = self._line_of(entry.start)
                if entry.key in lines:
                    message = f"duplicate key: {str(entry.key)[:100]!r} is already on line {lines[entry.key]}"
                    yield Mistake(line, (*location, entry.key), message)
                else:
                    lines[entry.key] = line
                    waiting.append(((*location, entry.key), entry.value))

    def _entries(self, at: int) -> list[_Entry]:
        """The entries of the list or object that begins at `at`; none for other values."""
        if at not in self._cut:
            self._cut[at] = list(self._cut_up(at))
        return self._cut[at]

    def _cut_up(self, at: int) -> Iterator[_Entry]:
        kind = self._text[at]
        if kind not in "[{":
            return
        at = self._skip(at + 1)
        index = 0
        while self._text[at] not in "]}":
            start = at
            key: str | int = index
            if kind == "{":
                key, at = _PIECE.raw_decode(self._text, at)
                at = self._skip(self._skip(at) + 1)
            yield _Entry(key, start, at)
            index += 1
            _, at = _PIECE.raw_decode(self._text, at)
            at = self._skip(at)
            if self._text[at] == ",":
                at = self._skip(at + 1)

    def _skip(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _line_of(self, position: int) -> int:
        return bisect.bisect_left(self._line_ends, position) + 1
