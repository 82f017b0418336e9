"""YAML text as plain data, by the core schema of YAML 1.2.

The tokens are libyaml's, the meaning is ours. PyYAML resolves by YAML 1.1, where the key in ``retries: {on: [...]}`` is the
boolean true, ``010`` is eight and ``1:30`` is ninety. It also recurses for every level, and expands aliases without bound.
Built from events in one pass, so the depth and the growth by aliases are known before anything is built.

Supported: anchors, aliases, merge keys (``<<``). Refused: tags, a second document, keys that are not text, duplicate keys.
"""

import math
import re
from typing import Any

import yaml

from xds_server.upstreams.model.base import Location
from xds_server.upstreams.tree import MAX_DEPTH, Mistake, Tree, UnreadableError, line_at

MAX_GROWTH = 16 * 1024 * 1024
"""What aliases may add to a file: the text of the values that they repeat, and `VALUE_COST` for each."""
VALUE_COST = 16

# libyaml where PyYAML was built with it (every wheel is), else the same events from Python, ten times slower.
_Events: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o([0-7]+)|0x([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 400
"""Characters. Python refuses to convert numbers above 4,300 digits, and no field takes one above 10."""
_NO_KEY, _MERGE, _DROP = object(), object(), object()
"""What a mapping waits for: a key; the value of ``<<``; a value that is read and dropped. Otherwise the value of its key."""


def read_yaml(text: str) -> Tree:
    """Read one YAML document. Data is None when there is none. Raises `UnreadableError`."""
    if found := _FORBIDDEN.search(text):
        raise UnreadableError(
            line_at(text, found.start()), f"not YAML: the character {found[0]!r} may not stand in a file"
        )
    events = _Events(text)
    try:
        return _Builder(events).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        if mark and text[mark.index : mark.index + 1] == "\t":
            message += ": a tab; indent with spaces"
        line = mark.line + 1 if mark else 1
        # libyaml takes the end of a last line without a line break for another line.
        raise UnreadableError(min(line, line_at(text, len(text))), f"not YAML: {message}") from None
    except yaml.YAMLError as error:
        raise UnreadableError(1, f"not YAML: {error}") from None
    finally:
        events.dispose()


def resolve(text: str) -> Any:
    """What an unquoted scalar means. Raises ValueError for numbers that JSON cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if match := _INTEGER.fullmatch(text):
        if len(text) > _LONGEST_NUMBER:
            raise ValueError("a number of this length cannot be read; put it in quotes if it is text")
        return int(match[1], 8) if match[1] else int(match[2], 16) if match[2] else int(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number; put it in quotes if it is text")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"{text[:40]} is too large a number; put it in quotes if it is text")
        return value
    return text


class _Frame:
    """A list or mapping that is being built."""

    __slots__ = ("anchor", "data", "height", "is_map", "key", "line", "lines", "merges", "size")

    def __init__(self, is_map: bool, anchor: str | None, line: int) -> None:
        self.is_map = is_map
        self.data: Any = {} if is_map else []
        self.lines: Any = {} if is_map else []
        self.anchor = anchor
        self.line = line
        self.key: Any = _NO_KEY
        self.merges: list[tuple[Any, int]] = []
        self.size = VALUE_COST
        self.height = 1

    def waits_for_key(self) -> bool:
        return self.is_map and self.key is _NO_KEY


class _Builder:
    def __init__(self, events: Any) -> None:
        self._next = events.get_event
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, size, height
        self._growth = 0
        self._lines: dict[int, Any] = {}  # id of a dict or list -> line of each of its entries
        self._mistakes: list[Mistake] = []
        self._data: Any = None
        self._start = 1

    def build(self) -> Tree:
        documents = 0
        while True:
            event = self._next()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event.anchor, event.start_mark.line + 1)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    message = "a second document begins here ('---'): join them, or give each a file of its own"
                    raise UnreadableError(event.start_mark.line + 1, message)
            elif kind is yaml.StreamEndEvent:
                return Tree(self._data, self._mistakes, self._line)

    def _open(self, event: Any, is_map: bool) -> None:
        line = event.start_mark.line + 1
        if len(self._stack) >= MAX_DEPTH:
            raise UnreadableError(line, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and self._stack[-1].waits_for_key():
            raise UnreadableError(
                line, "a key must be text, and a list or fields stand in its place: put text in quotes"
            )
        if event.tag is not None:
            self._refuse_tag(event.tag, line)
        if event.anchor:
            self._anchors.pop(event.anchor, None)  # inside, the name stands for this very value
        self._stack.append(_Frame(is_map, event.anchor, line))

    def _close(self) -> None:
        frame = self._stack.pop()
        for source, line in frame.merges:
            self._merge(frame, source, line)
        self._lines[id(frame.data)] = frame.lines
        self._add(frame.data, frame.size, frame.height, frame.line, frame.anchor)

    def _scalar(self, event: Any) -> None:
        line = event.start_mark.line + 1
        text: str = event.value
        value: Any = text
        if event.tag is not None:
            self._refuse_tag(event.tag, line)
        plain: bool = event.implicit[0]
        if plain:
            try:
                value = resolve(text)
            except ValueError as error:
                raise UnreadableError(line, str(error)) from None
        size = VALUE_COST + len(text)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.waits_for_key():
            if event.anchor:
                self._anchors[event.anchor] = (value, size, 0)
            self._key(frame, _MERGE if plain and text == "<<" else value, text, line)
        else:
            self._add(value, size, 0, line, event.anchor)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            inside = any(frame.anchor == anchor for frame in self._stack)
            raise UnreadableError(line, f"alias *{anchor} {'contains itself' if inside else 'has no anchor before it'}")
        value, size, height = self._anchors[anchor]
        self._growth += size
        if self._growth > MAX_GROWTH:
            raise UnreadableError(line, f"the aliases up to here repeat more than {MAX_GROWTH >> 20} MiB of values")
        if len(self._stack) + height > MAX_DEPTH:
            raise UnreadableError(line, f"nested deeper than {MAX_DEPTH} levels")
        frame = self._stack[-1]
        if frame.waits_for_key():
            self._key(frame, value, f"*{anchor}", line)
        else:
            self._add(value, size, height, line, None)

    def _key(self, frame: _Frame, key: Any, text: str, line: int) -> None:
        message = ""
        if key is _MERGE:
            message = "<< stands here twice: write <<: [*one, *two]" if frame.merges else ""
        elif not isinstance(key, str):
            message = f"the key {text[:40]!r} is not text: put it in quotes"
        elif key in frame.lines:
            message = f"duplicate key: {key[:100]!r} is already on line {frame.lines[key]}"
        else:
            frame.lines[key] = line
        if message:
            location = (*self._here(), key) if isinstance(key, str) else self._here()
            self._mistakes.append(Mistake(line, location, message))
        frame.key = _DROP if message else key
        frame.size += VALUE_COST + len(text)

    def _add(self, value: Any, size: int, height: int, line: int, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = (value, size, height)
        if not self._stack:
            self._data, self._start = value, line
            return
        frame = self._stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if not frame.is_map:
            frame.data.append(value)
            frame.lines.append(line)
            return
        if frame.key is _MERGE:
            frame.merges.append((value, line))
        elif frame.key is not _DROP:
            frame.data[frame.key] = value
        frame.key = _NO_KEY

    def _merge(self, frame: _Frame, source: Any, line: int) -> None:
        for part in source if isinstance(source, list) else [source]:
            if not isinstance(part, dict):
                self._mistakes.append(
                    Mistake(line, self._here(), "<< takes an alias of fields, or a list of such aliases")
                )
                return
            lines = self._lines[id(part)]
            for key, value in part.items():
                if key not in frame.lines:
                    frame.data[key] = value
                    frame.lines[key] = lines[key]

    def _refuse_tag(self, tag: str, line: int) -> None:
        short = tag.replace("tag:yaml.org,2002:", "!!")[:100]
        self._mistakes.append(Mistake(line, self._here(), f"the tag {short} is not supported: remove it"))

    def _here(self) -> Location:
        """The place that the next value goes to."""
        keys = (frame.key if frame.is_map else len(frame.data) for frame in self._stack)
        return tuple(key for key in keys if isinstance(key, str | int))

    def _line(self, location: Location) -> int:
        line, here = self._start, self._data
        for part in location:
            if type(here) not in (dict, list):
                break
            try:
                line = self._lines[id(here)][part]
                here = here[part]
            except (KeyError, IndexError, TypeError):
                break
        return line
