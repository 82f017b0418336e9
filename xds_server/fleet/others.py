"""What other processes tell of their parts of the fleet: replicas of one store, or workers. No I/O: it is brought here, and
shown by `Fleet`."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from xds_server.fleet.nodes import MOST_DEPARTED, REMEMBERED
from xds_server.fleet.progress import Counts, Progress
from xds_server.fleet.status import NodeStatus
from xds_server.xds import Node

MOST_ROLLOUTS: Final = 2_000
"""Revisions that are known of another replica: as many as it knows itself."""


@dataclass(slots=True)
class Part:
    """What one of them tells."""

    name: str
    delivered: int = -1
    """The newest revision that it serves; -1 for none."""
    forgotten: int = 0
    """The newest revision of which it does not know any more how far it came."""
    nodes: dict[str, NodeStatus] = field(default_factory=dict)
    rollouts: dict[int, Progress] = field(default_factory=dict)
    """How far revisions have come with its nodes. Pending nodes are the first of them."""

    def take(self, nodes: Iterable[NodeStatus], rollouts: Iterable[Progress]) -> None:
        """Take in what is new."""
        for status in nodes:
            # What is newest comes last, so that those are first that left first.
            self.nodes.pop(status.id, None)
            self.nodes[status.id] = status
        for progress in rollouts:
            self.rollouts[progress.revision] = progress
        while len(self.rollouts) > MOST_ROLLOUTS:
            del self.rollouts[min(self.rollouts)]

    def forget(self, since: float) -> None:
        """Forget nodes that left before a time, in seconds since 1970, and the first of too many."""
        departed = [status for status in self.nodes.values() if not status.connected]
        too_many = len(departed) - MOST_DEPARTED
        for number, status in enumerate(departed):
            if number < too_many or has_left(status, since):
                del self.nodes[status.id]

    def find(self, revision: int) -> Progress | None:
        """Of a revision, or of the newer one that carried it; None where it has none to tell of."""
        if (known := self.rollouts.get(revision)) is not None or self.has_forgotten(revision):
            return known
        newer = min((number for number in self.rollouts if number > revision), default=None)
        return self.rollouts[newer] if newer is not None else None

    def has_forgotten(self, revision: int) -> bool:
        """Whether it is too long ago that a revision was served there."""
        return revision <= self.forgotten and revision not in self.rollouts


def has_left(status: NodeStatus, before: float) -> bool:
    """Whether a node is gone since before a time, in seconds since 1970."""
    return status.disconnected_at is not None and not status.connected and status.disconnected_at.timestamp() < before


class Others:
    """All that live. Empty, and content with that, while this replica is alone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self._clock = clock
        self._parts: Mapping[str, Part] = {}
        self.problem = ""
        """Why there may be more than is known; empty where all is known."""
        self.asked: int | None = None
        """The newest revision that was served here when the others were last asked for; None where there are none to ask."""

    def take(self, parts: Mapping[str, Part], *, problem: str = "", asked: int | None = None) -> None:
        """What is known from now on, by an id of each."""
        self._parts = parts
        self.problem = problem
        self.asked = asked

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._parts)

    def delivered(self, newest: int) -> int:
        """The newest revision, up to `newest`, that all of them serve."""
        return min([newest, *(part.delivered for part in self._parts.values())])

    @property
    def remembered_since(self) -> float:
        """Nodes that left before are not shown: seconds since 1970."""
        return self._clock() - REMEMBERED

    def nodes(self) -> Iterator[Iterable[NodeStatus]]:
        """Of each, its nodes that are connected, or were within the last hour."""
        since = self.remembered_since
        for part in self._parts.values():
            yield [status for status in part.nodes.values() if not has_left(status, since)]

    def ids(self) -> Iterator[str]:
        """Of the nodes of each, of those too that left long ago."""
        for part in self._parts.values():
            yield from part.nodes

    def rejecting(self) -> Iterator[Iterable[NodeStatus]]:
        """Of each, its nodes that are connected and reject something."""
        for part in self._parts.values():
            yield [status for status in part.nodes.values() if status.connected and status.rejects]

    def node(self, node_id: str) -> Iterator[NodeStatus]:
        """A node as each sees it that knows it."""
        since = self.remembered_since
        for part in self._parts.values():
            if (status := part.nodes.get(node_id)) is not None and not has_left(status, since):
                yield status

    def connected(self) -> Iterator[Node]:
        """Nodes that are connected to another one."""
        for status in (status for part in self._parts.values() for status in part.nodes.values()):
            if status.connected:
                place = (status.region, status.zone, status.sub_zone)
                asks = (status.service, status.variant)
                yield Node(status.id, status.cluster, *place, status.user_agent, status.metadata, *asks)

    # Revisions

    def awaited(self, revision: int) -> tuple[str, ...]:
        """The names of those that do not serve a revision yet, sorted."""
        return tuple(sorted(part.name for part in self._parts.values() if part.delivered < revision))

    def carries(self, revision: int) -> bool:
        """Whether any of them served a revision only with a newer one."""
        parts = (part for part in self._parts.values() if part.rollouts and revision not in part.rollouts)
        return any(part.delivered >= revision for part in parts)

    def are_asked(self, revision: int) -> bool:
        """Whether the others were asked for since a revision is served here, so that no new one can be unknown that does not
        serve it."""
        return self.asked is None or self.asked >= revision

    def unknown(self, revision: int) -> str:
        """Why more may have to do with a revision than is known; empty where that cannot be."""
        if self.problem:
            return self.problem
        if not self.are_asked(revision):
            return "they were not asked since it is served here"
        forgetful = sorted(part.name for part in self._parts.values() if part.has_forgotten(revision))
        return f"it is too long ago that it was served by {', '.join(forgetful)}" if forgetful else ""

    def find(self, revision: int) -> list[Progress]:
        """How far it has come with the nodes of each that serves it."""
        found = (part.find(revision) for part in self._parts.values() if part.delivered >= revision)
        return [progress for progress in found if progress is not None]

    def counts(self, revision: int) -> Counts | None:
        """All of these added up; None while not all is known."""
        if self.unknown(revision) or self.awaited(revision):
            return None
        total = Counts(0, 0, 0)
        for progress in self.find(revision):
            total = total.plus(progress.counts)
        return total
