"""What all workers are to serve: the newest snapshot of each group, and the way to it encoded once for all of them. No I/O."""

from collections.abc import Mapping, Set

from xds_server.delivery.audience import EVERYONE
from xds_server.fleet import Commit
from xds_server.workers import messages
from xds_server.workers.outbox import Outbox
from xds_server.xds import Snapshot
from xds_server.xds.snapshot import ChangeLog


class _Group:
    """One group, and what leads to what it is served now."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.snapshot: Snapshot | None = None
        self._log = ChangeLog()
        self._steps: dict[int, bytes] = {}
        """By the serial of the snapshot where they begin; 0 for none."""

    def serve(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._log.append(snapshot)
        self._steps.clear()

    def step(self, held: Snapshot | None) -> bytes:
        """What who holds `held` needs now, as a `Step`."""
        assert self.snapshot is not None
        begin = held.serial if held is not None else 0
        if (known := self._steps.get(begin)) is None:
            known = self._steps[begin] = self._encode(self.snapshot, held)
        return known

    def _encode(self, now: Snapshot, held: Snapshot | None) -> bytes:
        if held is None or now.is_unwritten:
            return messages.whole(self._name, now)
        types = now.touched if now.base == held.serial else {*held.types, *now.types}
        differences = {type_url: self._log.difference(type_url, held, now) for type_url in types}
        return messages.step(self._name, now, differences)

    def sent(self) -> None:
        """Everybody has it: what is long need not be kept."""
        self._steps.clear()


class Mirror:
    """See `delivery.mirror.Mirror`. Tells the outbox of each worker what is new for it."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._outboxes: dict[Outbox, None] = {}
        self.selectors: dict[str, bool] = {}
        """How nodes are grouped: see `Audiences.in_use`."""
        self.commit = Commit(-1, None)
        """The newest revision."""
        self.expected = 0
        """How many workers there are to be; 0 while they stop."""

    # What is served

    def serve(self, group: str, snapshot: Snapshot) -> None:
        """A group is served `snapshot` from now on."""
        here = self._groups.setdefault(group, _Group(group))
        if here.snapshot is not snapshot:
            here.serve(snapshot)
            for outbox in self._outboxes:
                outbox.changed(group)

    def select(self, selectors: Mapping[str, bool]) -> None:
        """Nodes may fall into other groups now."""
        self.selectors = dict(selectors)
        for outbox in self._outboxes:
            outbox.regrouped()

    def keep(self, groups: Set[str]) -> None:
        """There are only these groups any more."""
        self._groups = {name: group for name, group in self._groups.items() if name in groups or name == EVERYONE.name}

    def published(self, commit: Commit) -> None:
        """What was told just now is a revision."""
        self.commit = commit
        for outbox in self._outboxes:
            outbox.published()

    # Who serves it

    @property
    def wanted(self) -> Set[str]:
        """Names of the groups that clients of workers are in."""
        return {name for outbox in self._outboxes for name in outbox.wanted}

    @property
    def serves(self) -> bool:
        """Whether each worker listens, and has something to serve."""
        return 0 < self.expected == sum(outbox.is_serving for outbox in self._outboxes)

    def join(self) -> Outbox:
        """For a worker that begins now."""
        outbox = Outbox(self)
        self._outboxes[outbox] = None
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """That worker is gone."""
        self._outboxes.pop(outbox, None)

    def snapshot(self, group: str) -> Snapshot | None:
        """What a group is served; None where it is not served yet."""
        here = self._groups.get(group)
        return here.snapshot if here is not None else None

    def step(self, group: str, held: Snapshot | None) -> bytes:
        """What a worker that holds `held` needs to serve what a group is served now, as a `Step`."""
        return self._groups[group].step(held)

    def sent(self, group: str) -> None:
        """A worker was sent that."""
        if not any(outbox.lacks(group) for outbox in self._outboxes):
            self._groups[group].sent()
