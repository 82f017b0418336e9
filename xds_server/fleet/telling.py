"""What this process tells next: only what changed, in parts that cost the event loop little. No I/O."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from xds_server.fleet.fleet import Fleet
from xds_server.fleet.progress import Progress
from xds_server.fleet.status import NodeStatus
from xds_server.fleet.words import Key, Word, node_key, rollout_key

NODES: Final = 1.0
"""Seconds between two times that nodes are told of; how far revisions have come is told at once."""
MOST: Final = 1_000
"""Nodes that are told of at once; the others follow."""
NAMED: Final = 100
"""Nodes that are named, of those that have not answered a revision."""
PART: Final = 50
"""Nodes, or revisions, between which others have the event loop: about 2 ms."""


class Telling:
    """Keeps what was told."""

    def __init__(
        self, fleet: Fleet, name: str, alive: float, *, rest: Callable[[int], float] = lambda _: NODES
    ) -> None:
        """`name`: of this process, for people; "" for none. `alive`: seconds after which something is said in any case. `rest`:
        for how many seconds nothing is told of nodes after so many of them; default `NODES`."""
        self._fleet, self._name, self._alive, self._rest = fleet, name, alive, rest
        self.unshared = fleet.name(name)
        """What changed since."""
        self.number = 0
        """Of the last word."""
        self._is_anew = True
        self._delivered = -1
        self._revisions: set[int] = set()
        """Those that were told of."""
        self._departed: OrderedDict[str, None] = OrderedDict()
        """Nodes that were told to be gone, the first one first."""
        self._nodes_due = self._alive_due = 0.0

    def anew(self) -> None:
        """Nobody may know any more what was told: tell everything with the next word."""
        self._is_anew = True
        self.unshared.clear()

    async def word(self) -> Word | None:
        """The next word; None where there is nothing to say. One that does not arrive needs `anew`."""
        fleet, now = self._fleet, asyncio.get_running_loop().time()
        delivered = fleet.delivered  # asked first: all revisions up to it are told by now, or with this word
        if is_anew := self._is_anew:
            self._is_anew = False
            self._revisions, self._departed = set(), OrderedDict()
            self.unshared.add(fleet.own_ids(), fleet.revisions)
        is_time = is_anew or now >= self._nodes_due
        named = self.unshared.take_nodes(MOST) if is_time else []
        rollouts = await self._rollouts(self.unshared.take_revisions())
        nodes, gone = await self._nodes(named)
        gone += self._forgotten_revisions() if rollouts else []
        says_something = is_anew or rollouts or nodes or gone
        if not (says_something or delivered != self._delivered or now >= self._alive_due):
            return None
        before = None if is_anew else self.number
        self.number += bool(says_something)
        self._delivered, self._alive_due = delivered, now + self._alive
        if nodes:
            self._nodes_due = now + self._rest(len(nodes))
        return Word(self._name, before, self.number, delivered, fleet.forgotten, nodes, rollouts, gone)

    async def _rollouts(self, revisions: list[int]) -> list[Progress]:
        found = []
        for number, revision in enumerate(revisions, 1):
            if (progress := self._fleet.own_progress(revision, NAMED)) is not None:
                found.append(progress)
                self._revisions.add(revision)
            if number % PART == 0:
                await asyncio.sleep(0)
        return found

    async def _nodes(self, named: list[str]) -> tuple[list[NodeStatus], list[Key]]:
        """Those of these that are known, and the keys of the others."""
        found: list[NodeStatus] = []
        gone: list[Key] = []
        for number, node_id in enumerate(named, 1):
            self._departed.pop(node_id, None)
            if (status := self._fleet.own_node(node_id)) is None:
                gone.append(node_key(node_id))
            else:
                found.append(status)
                if not status.connected:
                    self._departed[node_id] = None
            if number % PART == 0:
                await asyncio.sleep(0)
        return found, [*gone, *self._forgotten_nodes()]

    def _forgotten_nodes(self) -> list[Key]:
        """Nodes that left so long ago that they are remembered no more."""
        found = []
        while self._departed and self._fleet.own_node(first := next(iter(self._departed))) is None:
            del self._departed[first]
            found.append(node_key(first))
        return found

    def _forgotten_revisions(self) -> list[Key]:
        forgotten = self._revisions.difference(self._fleet.revisions)
        self._revisions -= forgotten
        return [rollout_key(revision) for revision in forgotten]
