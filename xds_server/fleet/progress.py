"""How far one revision has come: the answer to whoever waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xds_server.fleet.plain import plain


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


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of a revision until now. All counts are of nodes; a node counts once, whatever streams it has."""

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

    def reached(self, share: float) -> bool:
        """Whether at least `share` percent of the affected nodes acknowledged it. Of none, that is true."""
        return self.published and 100 * self.acknowledged >= share * self.affected

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        data: dict[str, Any] = plain(self)
        return data
