"""One revision on its way to the nodes that it concerns. No I/O: outcomes of streams go in, counts of nodes come out.

Costs what is pending: a node that has answered is a number.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from xds_server.fleet.plain import kind
from xds_server.fleet.progress import Counts, Ending, Progress, Rejected
from xds_server.xds import Outcome, Tracking

TOLD: Final = 100
"""Rejections of one revision that are kept in words. They tend to be the same."""


class Bell:
    """Wakes all who wait for it to ring next."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake them."""
        self._event.set()
        self._event.clear()

    async def wait(self) -> None:
        """Wait for the next time."""
        await self._event.wait()


@dataclass(slots=True)
class _Node:
    """A node whose streams have not all answered."""

    streams: int = 0
    acknowledged: bool = False
    warm: bool = True
    left: bool = False


class Rollout:
    """A revision from when it is served until everyone whom it concerns has answered or left."""

    def __init__(self, revision: int, committed_at: float | None, clock: Callable[[], float]) -> None:
        """`committed_at` and `clock`: seconds since 1970; None is not measured."""
        self.revision = revision
        self.changed = Bell()
        self.seconds: float | None = None
        """See `Progress.seconds`."""
        self._committed_at = committed_at
        self._clock = clock
        self._tracking: Tracking | None = None
        self._nodes: dict[str, _Node] = {}
        self._acknowledged = self._warm = self._left = self._rejections = 0
        self._rejected: list[Rejected] = []

    def begin(self, tracking: Tracking) -> None:
        """It is served now; `tracking` knows to which streams it matters."""
        self._tracking = tracking
        for stream in tracking.pending:
            self._nodes.setdefault(stream.node.id, _Node()).streams += 1

    def end(self) -> None:
        """Wait for nobody any more."""
        if self._tracking is not None:
            self._tracking.end()

    @property
    def is_open(self) -> bool:
        """Whether there is anybody left to wait for."""
        return bool(self._nodes)

    @property
    def counts(self) -> Counts:
        """Nodes that answered, and those that may yet; and how they answered."""
        affected = self._acknowledged + self._rejections + len(self._nodes)
        return Counts(affected, self._acknowledged, self._rejections)

    @property
    def ending(self) -> Ending | None:
        """What came of it, once there is nobody left to wait for: a rejection counts most. None where nobody was affected."""
        if self._rejections:
            return "rejected"
        if self._acknowledged:
            return "acknowledged"
        return "left" if self._left else None

    def told(self, outcome: Outcome) -> None:
        """Something came of it on one stream."""
        if (node := self._nodes.get(outcome.node.id)) is None:
            return
        node.streams -= 1
        node.acknowledged |= outcome.kind == "acknowledged"
        node.warm &= outcome.warm or outcome.kind != "acknowledged"
        node.left |= outcome.kind == "left"
        if outcome.kind == "rejected":
            self._reject(outcome)
        elif node.streams == 0:
            self._count(node)
        else:
            return
        del self._nodes[outcome.node.id]
        if not self._nodes and self.ending is not None and self._committed_at is not None:
            self.seconds = max(0.0, self._clock() - self._committed_at)
        self.changed.ring()

    def _count(self, node: _Node) -> None:
        if node.acknowledged:
            self._acknowledged += 1
            self._warm += node.warm
        elif node.left:
            self._left += 1

    def _reject(self, outcome: Outcome) -> None:
        self._rejections += 1
        if len(self._rejected) < TOLD:
            words = (outcome.version, outcome.detail, outcome.culprits)
            self._rejected.append(Rejected(outcome.node.id, kind(outcome.type_url), *words))

    def progress(self, names: int | None = None) -> Progress:
        """Where it is now. Costs what is pending. `names`: how many pending nodes are named at the most; None: all."""
        pending = sorted(self._nodes) if names is None else nsmallest(names, self._nodes)
        named = set(pending)
        types: dict[str, set[str]] = {}
        for stream in self._tracking.pending if self._tracking is not None else ():
            if stream.node.id in named:
                types.setdefault(stream.node.id, set()).update(map(kind, stream.types))
        return Progress(
            revision=self.revision,
            published=True,
            affected=self.counts.affected,
            acknowledged=self._acknowledged,
            warm=self._warm,
            left=self._left,
            pending={node: tuple(sorted(types.get(node, ()))) for node in pending},
            rejections=self._rejections,
            rejected=tuple(self._rejected),
            seconds=self.seconds,
        )
