"""The fleet: what every connected client has, how far each revision has come, and the numbers of both.

Everything here is fed by what the discovery server tells; nothing is asked of clients, and nothing waits but `Fleet.wait`.
Where other replicas serve a part of it, `others` has what they tell, and where worker processes serve this replica's own part,
`workers`; the whole is shown.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from xds_server.fleet.merging import merged_node, merged_nodes, merged_progress
from xds_server.fleet.metrics import Metrics
from xds_server.fleet.nodes import Nodes
from xds_server.fleet.others import Others
from xds_server.fleet.progress import Progress
from xds_server.fleet.rollout import Bell, Rollout
from xds_server.fleet.status import NodeStatus
from xds_server.fleet.unshared import Unshared
from xds_server.xds import DiscoveryServer, Event, Node, Outcome, Touched

MOST_OPEN: Final = 1_000
"""Revisions that somebody has not answered yet and that are still waited for; beyond, the oldest are forgotten."""
MOST_ENDED: Final = 1_000
"""Revisions whose outcome is remembered."""


class UnknownRevisionError(LookupError):
    """It is too long ago that a revision was served here for anything to be known of it."""


class Commit(NamedTuple):
    """A revision of the catalogue, as far as the fleet needs to know it."""

    revision: int
    committed_at: float | None
    """When it was stored: seconds since 1970. None where that is of no interest, as after a start: then `Progress.seconds` and
    the metric of convergence leave it out."""


class Fleet:
    """Watches the clients of one `DiscoveryServer`. Everything is for the event loop that runs the server."""

    def __init__(self, server: DiscoveryServer, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self._server = server
        self._clock = clock
        self._nodes = Nodes(clock)
        self.workers = Others(clock)
        """The parts of this replica's worker processes. Call `workers_told` when these are not what they were."""
        self.metrics = Metrics(self._nodes, self.workers)
        self._rollouts: dict[int, Rollout] = {}
        """By revision, in the order in which they were served."""
        self._converging: set[int] = set()
        """Revisions whose way through the workers is measured, and not over."""
        self._forgotten = 0
        """The newest revision that is not remembered."""
        self._served = Bell()
        self.others = Others(clock)
        """The parts of other replicas. Call `others_told` when these are not what they were."""
        self.ask: Callable[[], object] = lambda: None
        """Called when somebody waits for what others have to tell of a revision for which they were not asked yet."""
        self.newest = -1
        """The newest revision that is served; -1 for none."""
        self._replica = ""
        self._unshared: Unshared | None = None
        self.close = server.subscribe(self._observe)
        """Call it to watch no more."""

    def _observe(self, event: Event) -> None:
        self.metrics.note(event, self._nodes.note(event))
        if self._unshared is not None:
            self._unshared.note(event)

    # Nodes

    def nodes(self) -> list[NodeStatus]:
        """Every node that is connected, and those that left within the last hour (10,000 of each replica's at most), sorted by
        id; of other replicas as well, as they told last.

        Those that poll (REST) have no stream, and are not here.
        """
        return merged_nodes([self.own_nodes(), *self.others.nodes()])

    def node(self, node_id: str) -> NodeStatus | None:
        """One of them; None for a node that is not known."""
        own = self.own_node(node_id)
        seen = [*([own] if own is not None else ()), *self.others.node(node_id)]
        return merged_node(seen) if seen else None

    def nodes_after(self, node_id: str, most: int) -> list[NodeStatus]:
        """The first `most` of `nodes` with an id that sorts behind `node_id`, at the cost of these alone."""
        found: list[NodeStatus] = []
        for each in sorted(each for each in {*self.own_ids(), *self.others.ids()} if each > node_id):
            if len(found) == most:
                break
            if (status := self.node(each)) is not None:
                found.append(status)
        return found

    def rejecting(self) -> list[NodeStatus]:
        """Those of `nodes` that are connected and reject something, at the cost of these alone."""
        own = merged_nodes([self._nodes.rejecting(), *self.workers.rejecting()])
        return merged_nodes([map(self._placed, own), *self.others.rejecting()])

    def connected(self) -> list[Node]:
        """Those that are connected; one with streams at several processes is several times in it."""
        return [*self._nodes.connected(), *self.workers.connected(), *self.others.connected()]

    # This replica's part

    def name(self, replica: str) -> Unshared:
        """Let this replica have a name, and have it noted from now on what others are to be told of."""
        self._replica = replica
        self._unshared = Unshared()
        return self._unshared

    def own_nodes(self) -> list[NodeStatus]:
        """The nodes of this replica alone, as `nodes`."""
        return [self._placed(status) for status in merged_nodes([self._nodes.all(), *self.workers.nodes()])]

    def own_ids(self) -> list[str]:
        """The ids of these, in no order."""
        return [*{*self._nodes.ids(), *self.workers.ids()}]

    def own_node(self, node_id: str) -> NodeStatus | None:
        """One of them."""
        status = self._nodes.get(node_id)
        seen = [*([status] if status is not None else ()), *self.workers.node(node_id)]
        return self._placed(merged_node(seen)) if seen else None

    def _placed(self, status: NodeStatus) -> NodeStatus:
        return status.at(self._replica) if self._replica else status

    def own_progress(self, revision: int, names: int) -> Progress | None:
        """How far a revision has come with the nodes of this replica, of which `names` pending ones are named at the most; None
        for one that is not remembered."""
        rollout = self._rollouts.get(revision)
        return self._own(revision, rollout, names) if rollout is not None else None

    def _own(self, revision: int, rollout: Rollout, names: int | None = None) -> Progress:
        """Of this replica, with its workers."""
        awaited = self.workers.awaited(revision)
        merged = merged_progress(rollout.progress(names), self.workers.find(revision), awaited=awaited)
        return merged if names is None else merged.naming(names)

    @property
    def delivered(self) -> int:
        """The newest revision that is served by every worker; -1 for none."""
        return self.workers.delivered(self.newest)

    @property
    def revisions(self) -> list[int]:
        """The revisions that were served here and are remembered."""
        return list(self._rollouts)

    @property
    def forgotten(self) -> int:
        """The newest revision that was served here and is not remembered; 0 for none."""
        return self._forgotten

    def others_told(self) -> None:
        """Whoever waits looks again."""
        for rollout in self._rollouts.values():
            rollout.changed.ring()
        self._served.ring()

    def workers_told(self, nodes: Iterable[str], revisions: Iterable[int]) -> None:
        """What workers have to tell of these is not what it was; whoever waits looks again."""
        revisions = list(revisions)
        told = set(revisions)
        # What a worker that was behind was told of with a newer one, it tells of with that one.
        for revision in [each for each in self._converging if each in told or self.workers.carries(each)]:
            self._measure(revision)
        if self._unshared is not None:
            self._unshared.add(nodes, revisions)
        self.others_told()

    def _measure(self, revision: int) -> None:
        """See whether everyone whom a revision concerns at any worker has answered by now, or left."""
        progress = self._own(revision, self._rollouts[revision])
        if progress.is_open or progress.awaited:
            return
        self._converging.discard(revision)
        if progress.ending is not None and progress.seconds is not None:
            self.metrics.converged(progress.ending, progress.seconds)

    # Of this process

    def affected(self, groups: Iterable[str], touched: Touched | None = None) -> tuple[str, ...]:
        """The ids of connected nodes that a change of these groups' snapshots would concern, sorted: a preview. Of this
        process: those of workers and other replicas are not in it.

        `touched`: names of resources by type URL that would change. Only nodes that are subscribed to any of these count, by
        the same rule as when it is served. None: whoever is in the groups.
        """
        return tuple(sorted({node.id for group in groups for node in self._server.subscribers(group, touched)}))

    def affected_where(self, concerns: Callable[[Node], bool]) -> tuple[str, ...]:
        """The ids of connected nodes for which `concerns` is true, sorted: a preview for groups that there are not yet."""
        return tuple(sorted(node.id for node in self._nodes.connected() if concerns(node)))

    # Revisions

    @contextmanager
    def published(self, commit: Commit) -> Iterator[None]:
        """Serve a revision in this `with` block, so that it is known from then on whom it concerns.

        The block must not await: what is changed by others meanwhile would be taken for a part of it. One that raises leaves
        nothing behind. A revision that was served before starts anew.
        """
        rollout = Rollout(commit.revision, commit.committed_at, self._clock)

        def tell(outcome: Outcome) -> None:
            rollout.told(outcome)
            self._moved(rollout)
            if not rollout.is_open:
                self._ended(rollout)

        with self._server.tracking(tell) as tracking:
            yield
        rollout.begin(tracking)
        if (before := self._rollouts.pop(commit.revision, None)) is not None:
            before.end()
            before.changed.ring()
        self._rollouts[commit.revision] = rollout
        if self.workers and commit.committed_at is not None:
            self._converging.add(commit.revision)
        self.newest = max(self.newest, commit.revision)
        self._moved(rollout)
        self._forget()
        self._served.ring()

    def _moved(self, rollout: Rollout) -> None:
        if self._unshared is not None:
            self._unshared.add(revisions=(rollout.revision,))

    def _ended(self, rollout: Rollout) -> None:
        if rollout.ending is not None and rollout.seconds is not None:
            self.metrics.converged(rollout.ending, rollout.seconds)

    def _forget(self) -> None:
        """Keep what is bounded. Looks at all only when there may be too many."""
        if len(self._rollouts) <= min(MOST_OPEN, MOST_ENDED):
            return
        open_ones = [rollout for rollout in self._rollouts.values() if rollout.is_open]
        ended = [rollout for rollout in self._rollouts.values() if not rollout.is_open]
        for rollout in (*open_ones[:-MOST_OPEN], *ended[:-MOST_ENDED]):
            rollout.end()
            del self._rollouts[rollout.revision]
            self._converging.discard(rollout.revision)
            self._forgotten = max(self._forgotten, rollout.revision)

    def progress(self, revision: int) -> Progress:
        """How far a revision has come. Raises UnknownRevisionError when that is too long ago to be known.

        One that was never served by itself, because a newer one came at the same time, is answered for with that one.
        """
        return self._progress(revision, self._find(revision))

    def _progress(self, revision: int, rollout: Rollout | None) -> Progress:
        own = self._own(revision, rollout) if rollout is not None else _not_yet(revision)
        awaited, unknown = self.others.awaited(revision), self.others.unknown(revision)
        return merged_progress(own, self.others.find(revision), awaited=awaited, unknown=unknown)

    async def wait(self, revision: int, share: float = 100.0, within: float = 30.0) -> Progress:
        """Wait until `share` percent of the nodes that a revision affects, and that are connected, acknowledged it: to this or
        another replica, of which none may be left that does not serve it yet.

        Returns where it is (`Progress.reached(share)` says whether it came so far) as soon as that is so, or cannot become so
        because too many rejected it, or after `within` seconds. Where nobody is affected that is at once. A revision that is
        not served yet is waited for, too. Raises ValueError for a share that is not from 0 to 100 and for a negative time, and
        UnknownRevisionError as `progress` does.
        """
        if not 0 <= share <= 100:
            raise ValueError(f"a share is from 0 to 100 percent, not {share:g}")
        if not within >= 0:
            raise ValueError(f"a time to wait is 0 s or more, not {within:g}")
        rollout: Rollout | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while (rollout := self._find(revision)) is None or not self._is_decided(revision, rollout, share):
                    await (self._served if rollout is None else rollout.changed).wait()
        return self._progress(revision, rollout)

    def _is_decided(self, revision: int, rollout: Rollout, share: float) -> bool:
        if not self.others.are_asked(revision):
            self.ask()
        counts = rollout.counts
        for elsewhere in (self.workers.counts(revision), self.others.counts(revision)):
            if elsewhere is None:
                return False
            counts = counts.plus(elsewhere)
        return counts.are_decided(share)

    def _find(self, revision: int) -> Rollout | None:
        """The rollout that carries a revision; None when it is not served yet."""
        if (known := self._rollouts.get(revision)) is not None:
            return known
        if revision <= self._forgotten:
            raise UnknownRevisionError(
                f"it is too long ago that revision {revision} was served: nothing is known of it here"
            )
        newer = min((number for number in self._rollouts if number > revision), default=None)
        return self._rollouts[newer] if newer is not None else None


def _not_yet(revision: int) -> Progress:
    return Progress(
        revision=revision,
        published=False,
        affected=0,
        acknowledged=0,
        warm=0,
        left=0,
        pending={},
        rejections=0,
        rejected=(),
        seconds=None,
    )
