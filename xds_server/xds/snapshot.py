"""A snapshot: every resource that a group of nodes should have, immutable, sharing what did not change.

Changing one resource of 100,000 costs a few tree nodes, in time and in memory, so that a stream can keep the snapshot
that its client holds and compare it with the newest one.
"""

from __future__ import annotations  # rpds' types take parameters only in annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from rpds import HashTrieMap

from xds_server.xds.arguments import require, require_text, require_type_url
from xds_server.xds.resource import Resource

_serials = itertools.count(1)
_EMPTY: HashTrieMap[str, Resource] = HashTrieMap()

Touched = Mapping[str, frozenset[str]]
"""Names by type URL."""


class _Type(NamedTuple):
    resources: HashTrieMap[str, Resource]
    digest: int
    """Sum over all resources of a hash of name and version: changes with one resource in constant time."""
    version: str | None
    """The caller's own version, else None and the digest counts."""


_NOTHING = _Type(_EMPTY, 0, None)


class Snapshot:
    """An immutable set of resources by type and name. Make one with `of`, and the next one with `change`."""

    __slots__ = ("_types", "base", "is_unwritten", "serial", "touched")

    def __init__(
        self, types: Mapping[str, _Type], base: int = 0, touched: Touched | None = None, *, is_unwritten: bool = False
    ) -> None:
        self._types = types
        self.serial = next(_serials)
        """Unique in this process; never sent to clients."""
        self.base = base
        """Serial of the snapshot that this one was changed from; 0 for none."""
        self.touched: Touched = touched or {}
        """What differs from `base`."""
        self.is_unwritten = is_unwritten
        """See `unwritten`."""

    @classmethod
    def of(cls, resources: Iterable[Resource] = (), *, versions: Mapping[str, str] | None = None) -> Snapshot:
        """A snapshot of exactly `resources`. Raises ValueError when a type and name come twice, and as `change` does.

        `versions`: the caller's own version per type URL (`version_info` of the state-of-the-world protocol); types that
        are left out take a hash of their content.
        """
        resources = _checked(resources)
        if len({(r.type_url, r.name) for r in resources}) < len(resources):
            raise ValueError("two resources of a snapshot have the same type and name")
        empty = cls({})
        return cls(empty.change(upsert=resources, versions=versions)._types)

    @classmethod
    def unwritten(cls) -> Snapshot:
        """The snapshot of a control plane that was never told what to serve, which is not the same as being told: nothing.

        A client that holds nothing is answered, with nothing. One that says that it holds something was told so by a control
        plane that lost what it knew: of each such type it hears nothing, and so keeps it, until another snapshot comes. What
        `change` makes of this one is another one in any case.
        """
        return cls({}, is_unwritten=True)

    def change(
        self,
        upsert: Iterable[Resource] = (),
        remove: Iterable[tuple[str, str]] = (),
        *,
        versions: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """The snapshot after taking out `remove` (type URL and name) and then adding or replacing `upsert`, in O(changed).

        Returns this very snapshot when nothing differs, unless it is `unwritten`. A resource whose version is equal counts as
        the same; of several with one type and name the last one counts. A type that changes loses the caller's version unless
        it is given anew in `versions`. Raises TypeError for what is no resource, and ValueError for one without a name or a
        type URL, and for an empty version.
        """
        upsert, remove, versions = _checked(upsert), _removals(remove), _versions(versions)
        types = dict(self._types)
        touched: dict[str, set[str]] = {}
        for type_url, name in remove:
            here = types.get(type_url, _NOTHING)
            if (old := here.resources.get(name)) is not None:
                types[type_url] = _Type(here.resources.remove(name), here.digest - _digest(old), None)
                touched.setdefault(type_url, set()).add(name)
        for resource in upsert:
            here = types.get(resource.type_url, _NOTHING)
            old = here.resources.get(resource.name)
            if old == resource:
                continue
            digest = here.digest + _digest(resource) - (_digest(old) if old else 0)
            types[resource.type_url] = _Type(here.resources.insert(resource.name, resource), digest, None)
            touched.setdefault(resource.type_url, set()).add(resource.name)
        relabelled = False
        for type_url, version in versions.items():
            here = types.get(type_url, _NOTHING)
            relabelled |= here.version != version
            types[type_url] = here._replace(version=version)
        if not touched and not relabelled and not self.is_unwritten:
            return self
        return Snapshot(types, self.serial, {type_url: frozenset(names) for type_url, names in touched.items()})

    @property
    def types(self) -> tuple[str, ...]:
        """The type URLs of which there is, or was, anything."""
        return tuple(self._types)

    def only(self, type_url: str) -> Snapshot:
        """A snapshot of this type's resources alone."""
        return Snapshot({type_url: self._types.get(type_url, _NOTHING)})

    def get(self, type_url: str, name: str) -> Resource | None:
        """The resource of that type and name, or None."""
        return self._types.get(type_url, _NOTHING).resources.get(name)

    def names(self, type_url: str) -> Iterable[str]:
        """The names of all resources of a type, in no particular order."""
        return self._types.get(type_url, _NOTHING).resources.keys()

    def count(self, type_url: str) -> int:
        """How many resources of a type there are."""
        return len(self._types.get(type_url, _NOTHING).resources)

    def resources(self, type_url: str) -> list[Resource]:
        """All resources of a type, sorted by name."""
        return sorted(self._types.get(type_url, _NOTHING).resources.values(), key=lambda resource: resource.name)

    def version(self, type_url: str) -> str:
        """The version of everything of a type: the caller's own, else a hash of all names and versions."""
        here = self._types.get(type_url, _NOTHING)
        return here.version if here.version is not None else self.content(type_url)

    def content(self, type_url: str) -> str:
        """A hash of all names and versions of a type, whatever the caller calls it."""
        return f"{self._types.get(type_url, _NOTHING).digest % 2**64:016x}"

    def __iter__(self) -> Iterator[Resource]:
        for type_url in sorted(self._types):
            yield from self.resources(type_url)

    def __len__(self) -> int:
        return sum(len(here.resources) for here in self._types.values())


def _checked(resources: Iterable[Resource]) -> list[Resource]:
    resources = list(resources)
    for resource in resources:
        if not isinstance(resource, Resource) or not resource.name or "/" not in resource.type_url:
            require(resource, Resource, "what a snapshot holds")
            require_text(resource.name, "a resource's name")
            require_type_url(resource.type_url)
    return resources


def _removals(remove: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    remove = list(remove)
    for pair in remove:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"what is removed is named by a type URL and a name, (CLUSTER, 'a') for example, not {pair!r}"
            )
        require_type_url(pair[0])
        require(pair[1], str, "the name of what is removed")
    return remove


def _versions(versions: Mapping[str, str] | None) -> Mapping[str, str]:
    for type_url, version in (versions or {}).items():
        require_type_url(type_url)
        require(version, str, f"the version of {type_url}")
        if not version:
            raise ValueError("a version cannot be empty: clients would take it for none")
    return versions or {}


def _digest(resource: Resource) -> int:
    text = f"{resource.name}\0{resource.version}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Difference(NamedTuple):
    """What turns one snapshot into another, for one type. Both sorted."""

    changed: tuple[str, ...]
    """Added, or of another version."""
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


_SAME = Difference((), ())


class _Change(NamedTuple):
    serial: int
    base: int
    touched: Touched


class ChangeLog:
    """The latest changes of one group, so that comparing two of its snapshots costs what changed between them."""

    def __init__(self, most_changes: int = 1024, most_names: int = 200_000) -> None:
        self._changes: deque[_Change] = deque()
        self._names = 0
        self._most_changes, self._most_names = most_changes, most_names
        self._cache: dict[tuple[str, int, int], Difference] = {}

    def append(self, snapshot: Snapshot) -> None:
        """Record that `snapshot` follows the last one recorded."""
        if self._changes and self._changes[-1].serial != snapshot.base:
            self._changes.clear()
            self._names = 0
        self._changes.append(_Change(snapshot.serial, snapshot.base, snapshot.touched))
        self._names += _count(snapshot.touched)
        while len(self._changes) > self._most_changes or (self._names > self._most_names and len(self._changes) > 1):
            self._names -= _count(self._changes.popleft().touched)
        self._cache.clear()

    def difference(self, type_url: str, old: Snapshot, new: Snapshot) -> Difference:
        """What a client that holds `old` lacks of `new`, from the log where it reaches back, else by full comparison."""
        if old is new:
            return _SAME
        key = (type_url, old.serial, new.serial)
        if (known := self._cache.get(key)) is None:
            known = self._cache[key] = self._compare(type_url, old, new)
        return known

    def _compare(self, type_url: str, old: Snapshot, new: Snapshot) -> Difference:
        names = self._between(type_url, old.serial, new.serial)
        changed, removed = [], []
        for name in sorted(names if names is not None else {*old.names(type_url), *new.names(type_url)}):
            before, now = old.get(type_url, name), new.get(type_url, name)
            if now is None:
                if before is not None:
                    removed.append(name)
            elif before != now:
                changed.append(name)
        return Difference(tuple(changed), tuple(removed))

    def _between(self, type_url: str, old: int, new: int) -> set[str] | None:
        """Names touched on the way from serial `old` to `new`; None when the log does not hold the whole way."""
        names: set[str] = set()
        expected = new
        for change in reversed(self._changes):
            if change.serial > new:
                continue
            if change.serial != expected:
                return None
            names |= change.touched.get(type_url, frozenset())
            expected = change.base
            if expected == old:
                return names
        return None


def _count(touched: Touched) -> int:
    return sum(map(len, touched.values()))
