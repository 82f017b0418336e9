"""What a replica hears of the others: see `fleet.words` for what it tells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xds_server.fleet import NodeStatus, Progress


class Heard(NamedTuple):
    """What is new of another replica."""

    name: str
    number: int
    """Of its last word."""
    delivered: int
    forgotten: int
    nodes: Sequence[NodeStatus]
    rollouts: Sequence[Progress]
    unreadable: int
    """How much of it a newer or older program wrote that this one does not understand."""


class Answer(NamedTuple):
    """What the store says."""

    own: int | None
    """Number of the last word of the one who asks; None where the store does not know it."""
    awake: float
    """Seconds since the database was started."""
    others: Mapping[str, Heard]
    """Those that live, by id."""
