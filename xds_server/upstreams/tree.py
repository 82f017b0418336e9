"""What a text format makes of a definition file: plain data, and the line of every part of it.

YAML and JSON each have a reader that returns a `Tree` or raises `UnreadableError`. Nothing here or there knows what a
definition is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from xds_server.upstreams.model.base import Location

MAX_DEPTH = 64
"""Levels of lists and mappings inside each other. A definition needs 7, and whatever Envoy's Cluster needs under `envoy:`."""


class UnreadableError(Exception):
    """The text as a whole cannot be read. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Mistake(NamedTuple):
    """Something wrong with the text at `line` that does not keep the rest from being read."""

    line: int
    location: Location
    message: str


class Tree(NamedTuple):
    """The data of a file: dict, list, str, int, float, bool and None. Parts may be shared (YAML aliases)."""

    data: Any
    mistakes: list[Mistake]
    line: Callable[[Location], int]
    """The line of an entry: its key's, or a list item's first. For a place that does not exist, its nearest parent's."""


def line_at(text: str, position: int) -> int:
    """The line, from 1, of the character at `position`."""
    return text.count("\n", 0, position) + 1
