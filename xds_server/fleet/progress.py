"""How far one revision has come: the answer to whoever waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Any, Literal, NamedTuple

from xds_server.fleet.plain import plain

Ending = Literal["acknowledged", "rejected", "left"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A node's rejection of a revision."""

    node: str
    type: str
    """Short: ``Cluster``."""
    version: str
    """Of the response."""
    message: str
    """The client's words."""
    culprits: tuple[str, ...]
    """Names of the resources that these name; empty when none can be told."""


class Counts(NamedTuple):
    """As much of a `Progress` as tells whether waiting for it is over."""

    affected: int
    acknowledged: int
    rejections: int

    def plus(self, other: "Counts") -> "Counts":
        """Both, of nodes that are not the same."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def are_decided(self, share: float) -> bool:
        """Whether `share` percent of the affected nodes acknowledged it, or so many rejected it that they never will."""
        needed = share * self.affected
        return 100 * self.acknowledged >= needed or 100 * (self.affected - self.rejections) < needed


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of a revision until now. All counts are of nodes; a node counts once, whatever streams it has, and with streams
    at several replicas once for each."""

    revision: int
    published: bool
    """It is served, or was. Until then the rest is empty."""
    affected: int
    """Nodes that it concerns: those that answered, and those that may yet."""
    acknowledged: int
    """Nodes that acknowledged all of it, or what has taken its place since."""
    warm: int
    """Of these, nodes whose clusters are known to be warm. Where it is not known, it is not said: see `Outcome.warm`."""
    left: int
    """Nodes that it concerned and that went away before they answered. They are served the newest when they come back."""
    pending: Mapping[str, tuple[str, ...]]
    """Nodes that have not answered yet, and for which types (short names)."""
    rejections: int
    """Nodes that rejected it."""
    rejected: tuple[Rejected, ...]
    """The first of these."""
    seconds: float | None
    """From commit to the last answer, once there is nobody left to wait for; None before, where nobody was affected, and where
    the time of the commit was not given."""
    awaited: tuple[str, ...] = ()
    """Names of replicas that live and do not serve it yet: what it concerns there is not counted."""
    unknown: str = ""
    """Why there may be replicas of which nothing is known; empty where that cannot be."""

    @property
    def counts(self) -> Counts:
        """What tells whether waiting for it is over."""
        return Counts(self.affected, self.acknowledged, self.rejections)

    @property
    def is_open(self) -> bool:
        """Whether there is any node left to wait for."""
        return self.affected > self.acknowledged + self.rejections

    @property
    def is_whole(self) -> bool:
        """Whether it is known of every replica."""
        return self.published and not self.awaited and not self.unknown

    @property
    def ending(self) -> Ending | None:
        """What came of it, once there is nobody left to wait for: a rejection counts most. None where nobody was affected."""
        if self.rejections:
            return "rejected"
        if self.acknowledged:
            return "acknowledged"
        return "left" if self.left else None

    def naming(self, most: int) -> "Progress":
        """With so many pending nodes named at the most."""
        if len(self.pending) <= most:
            return self
        return replace(self, pending={name: self.pending[name] for name in nsmallest(most, self.pending)})

    def reached(self, share: float) -> bool:
        """Whether at least `share` percent of the affected nodes acknowledged it, of all replicas. Of none, that is true."""
        return self.is_whole and 100 * self.acknowledged >= share * self.affected

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        data: dict[str, Any] = plain(self)
        return data
