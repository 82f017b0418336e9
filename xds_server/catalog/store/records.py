"""What the catalogue keeps: records, each by kind and name, and the revisions that changed them. Data only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

UPSTREAM: Final = "upstream"
GATEWAY: Final = "gateway"
OVERRIDE: Final = "override"
"""What an operator laid over one target; its name is the upstream's and the target's, joined by ``/``."""

Key = tuple[str, str]
"""Kind and name of a record."""

API: Final = "api"
"""Origin of what came through the API. Every other origin is the path of a file."""

FILES: Final = "files"
"""Source of changes that definition files made."""

LAST: Final = 2**31 - 1
"""The highest number that a revision can have."""

Action = Literal["added", "changed", "removed"]
State = Literal["applied", "held", "released", "superseded"]
"""Of a revision. Held: it has a number and serves nothing (the guard). Released: a later revision confirmed it. Superseded: its
source said something newer before anybody confirmed it."""


class Entry(NamedTuple):
    """One record, as it is stored."""

    origin: str
    """`API`, or the path of the file that it is written in. Whose it is: the other may not overwrite it."""
    line: int
    """Where in the file; 0 for the API."""
    document: str
    """The definition as its author wrote it: JSON with sorted keys."""

    @property
    def data(self) -> Any:
        """The document as plain data."""
        return json.loads(self.document)

    def says_the_same(self, other: "Entry | None") -> bool:
        """Whether nothing but the line differs."""
        return other is not None and (self.origin, self.document) == (other.origin, other.document)


class Change(NamedTuple):
    """What a revision did to one record."""

    action: Action
    entry: Entry | None
    """The record after it; None when it was removed."""


Changes = Mapping[Key, Change]


class Held(NamedTuple):
    """A record in force."""

    entry: Entry
    revision: int
    """Number of the revision that made it so."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who wants a change, and why."""

    author: str
    """Name of a token, of a person, or of what made it (``files``)."""
    message: str = ""
    client: str = ""
    """Address that the request came from; empty where there was none."""
    source: str = API
    """What it came through: ``api``, ``files`` or ``xds-server`` (what the control plane does by itself)."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of the catalogue. Numbers begin at 1 and have no gaps."""

    number: int
    time: datetime
    """When it was committed, in UTC."""
    by: Attribution
    state: State
    refers_to: int | None = None
    """The revision that it went back to, or that it confirmed."""
    note: str = ""
    """Why it is held."""


class Outline(NamedTuple):
    """A revision with the names of what it changed."""

    revision: Revision
    changes: Mapping[Key, Action]
    """The first of them, by kind and name."""
    total: int
    """How many there are."""


def dumped(data: Any) -> str:
    """Plain data as the one JSON text that stands for it."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
