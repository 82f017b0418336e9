"""A group: the nodes that are served the same snapshot, and what they share. No I/O here."""

from collections import deque
from collections.abc import Callable, Mapping, Set
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from xds_server.xds.ordering import FULL_SETS
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import ChangeLog, Difference, Snapshot, Touched
from xds_server.xds.subscription import Subscription, encoded_names

K = TypeVar("K")
V = TypeVar("V")

PAST: Final = 64
"""Versions of a full set that a group remembers. They share what did not change, and so cost what did."""
MOST_CHANGED: Final = 10_000
"""Changes of single resources between them, beyond which the oldest go."""

MANY_NAMES: Final = 100
"""So many names in a subscription are worth sharing with the streams that have the same."""
SHARED: Final = 16
"""Different subscriptions of which a group remembers the names."""


class _Past:
    """The latest versions of one type."""

    def __init__(self) -> None:
        self._known: deque[tuple[str, Snapshot, int]] = deque()
        self._changed = 0

    def add(self, snapshot: Snapshot, type_url: str) -> None:
        version = snapshot.version(type_url)
        if self._known and self._known[-1][0] == version:
            return
        changed = len(snapshot.touched.get(type_url, ())) if snapshot.base else snapshot.count(type_url)
        self._known.append((version, snapshot.only(type_url), changed))
        self._changed += changed
        while len(self._known) > PAST or (self._changed > MOST_CHANGED and len(self._known) > 1):
            self._changed -= self._known.popleft()[2]

    def find(self, version: str) -> Snapshot | None:
        return next((snapshot for known, snapshot, _ in reversed(self._known) if known == version), None)


class Whole(NamedTuple):
    """All resources of a type, as each stream needs them that is sent all of them."""

    all: frozenset[str]
    names: tuple[str, ...]
    """Sorted; `versions` are of these."""
    versions: tuple[str, ...]
    references: Mapping[str, tuple[str, ...]]
    """What they refer to: names by type."""


class Group:
    """Holds the current snapshot, the way to it, and the response bodies that its streams share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.snapshot: Snapshot | None = None
        """None until the first one is published: clients are held, never told that there is nothing (S16)."""
        self._past = {type_url: _Past() for type_url in FULL_SETS}
        self._log = ChangeLog()
        self._bodies: dict[tuple[str, ...], bytes] = {}
        self._wholes: dict[str, Whole] = {}
        self._subscriptions: dict[frozenset[str], frozenset[str]] = {}
        self._requested: dict[bytes, Subscription] = {}

    def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the current one."""
        for type_url, past in self._past.items():
            past.add(snapshot, type_url)
        self._log.append(snapshot)
        self._bodies.clear()
        self._wholes.clear()
        self.snapshot = snapshot

    def difference(self, type_url: str, old: Snapshot, new: Snapshot) -> Difference:
        """What a client that holds `old` lacks of `new`."""
        return self._log.difference(type_url, old, new)

    def touched(self, old: Snapshot | None, new: Snapshot) -> Touched | None:
        """The names by type that differ between two snapshots of this group; None for all, where there was none before."""
        if old is None:
            return None
        if new.base == old.serial:
            return new.touched
        types = {*old.types, *new.types}
        return {type_url: frozenset(chain(*self.difference(type_url, old, new))) for type_url in types}

    def remember(self, type_url: str, snapshot: Snapshot) -> None:
        """A client is sent this in place of the current snapshot, and may come back with its version."""
        if self.past(type_url, snapshot.version(type_url)) is None:
            self._past[type_url].add(snapshot, type_url)

    def past(self, type_url: str, version: str) -> Snapshot | None:
        """What this type was of late when it had this version, and so what a client that names the version holds of it."""
        if self.snapshot is not None and self.snapshot.version(type_url) == version:
            return self.snapshot
        return self._past[type_url].find(version)

    def whole(self, type_url: str) -> Whole:
        """Everything of a type in the current snapshot, found once for all streams. Only where there is a snapshot."""
        if (known := self._wholes.get(type_url)) is None:
            assert self.snapshot is not None
            known = self._wholes[type_url] = _whole(self.snapshot.resources(type_url))
        return known

    def present(self, type_url: str, names: Set[str]) -> tuple[str, ...]:
        """Which of `names` there are in the current snapshot, sorted; where that is all, as `whole` has them."""
        assert self.snapshot is not None
        if self._may_be_all(type_url, len(names)) and names == self.whole(type_url).all:
            return self.whole(type_url).names
        get = self.snapshot.get
        return tuple(sorted(name for name in names if get(type_url, name) is not None))

    def is_all(self, type_url: str, names: tuple[str, ...]) -> bool:
        """Whether these, as `present` gave them, are all names."""
        return self._may_be_all(type_url, len(names)) and names is self.whole(type_url).names

    def _may_be_all(self, type_url: str, count: int) -> bool:
        """Whether so many may be all that there are, which are then worth knowing for every stream."""
        return count > 1 and self.snapshot is not None and count == self.snapshot.count(type_url)

    def shared(self, names: Set[str]) -> Set[str]:
        """The same names, where there are many as one object for all streams: each Envoy names all its endpoints."""
        if len(names) < MANY_NAMES:
            return names
        mine = frozenset(names)
        return _newest(self._subscriptions, mine, lambda: mine)

    def requested(self, request: Any) -> Subscription:
        """What a `DiscoveryRequest` names, where that is much as one object for all that name the same."""
        if len(request.resource_names) < MANY_NAMES:
            return Subscription.of(request.resource_names)
        return _newest(self._requested, encoded_names(request), lambda: Subscription.of(request.resource_names))

    def body(self, key: tuple[str, ...], build: Callable[[], bytes]) -> bytes:
        """The bytes known by `key` under the current snapshot, built once for all streams."""
        if (known := self._bodies.get(key)) is None:
            known = self._bodies[key] = build()
        return known


def _newest(known: dict[K, V], key: K, make: Callable[[], V]) -> V:
    """What is known by a key, which is the newest from now on. The oldest is forgotten where there are too many."""
    if (value := known.pop(key, None)) is None:
        value = make()
        while len(known) >= SHARED:
            del known[next(iter(known))]
    known[key] = value
    return value


def _whole(resources: list[Resource]) -> Whole:
    references: dict[str, list[str]] = {}
    for resource in resources:
        for type_url, name in resource.references:
            references.setdefault(type_url, []).append(name)
    names = tuple(resource.name for resource in resources)
    versions = tuple(resource.version for resource in resources)
    return Whole(frozenset(names), names, versions, {type_url: tuple(there) for type_url, there in references.items()})
