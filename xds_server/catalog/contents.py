"""Everything in force, in memory: records with what they say, and what has to be found among them quickly. No I/O.

A change costs what it touches.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from typing import Any, TypeVar, cast

from xds_server.catalog.changes import Change as Delivered
from xds_server.catalog.kept import (
    MODELS,
    MOST,
    THE_API,
    AnyRecord,
    Models,
    Overridden,
    Record,
    Value,
    read,
    record,
)
from xds_server.catalog.overrides import Laid, TargetOverride, split_name
from xds_server.catalog.store.records import API, GATEWAY, OVERRIDE, UPSTREAM, Changes, Entry, Held, Key
from xds_server.upstreams.model import Gateway, Located, Placed, Upstream
from xds_server.upstreams.recent import Recent

__all__ = ["MODELS", "THE_API", "AnyRecord", "Contents", "Record", "Value", "placed", "read"]

D = TypeVar("D", Upstream, Gateway)


def placed(entry: Entry, value: D) -> Placed[D]:
    """A definition, with its place for messages."""
    return Placed(THE_API if entry.origin == API else entry.origin, entry.line, value)


class Contents:
    """The records in force as of a revision."""

    def __init__(self) -> None:
        self.revision = 0
        self.is_watched: Callable[[str], bool] = lambda path: True
        """Whether a file is still a source: what is in one that is not may be taken over by the API."""
        self.records: dict[Key, AnyRecord] = {}
        self.recent = Models(MOST)
        self.targets = 0
        """How many all upstreams have together."""
        self._names: dict[str, set[str]] = {UPSTREAM: set(), GATEWAY: set(), OVERRIDE: set()}
        self._by_host: dict[str, set[str]] = {}
        """Virtual host names -> upstreams that answer for them."""
        self._by_port: dict[int, set[str]] = {}
        """Ports -> gateways."""
        self._forwarding: dict[str, set[str]] = {}
        """Upstreams -> gateways that forward to them alone."""
        self._overridden: dict[str, set[str]] = {}
        """Upstreams -> names of overrides of their targets."""
        self._expiring: dict[str, datetime] = {}
        """Names of overrides that expire, and when."""
        self._laid: Recent[Laid] = Recent()

    def __contains__(self, key: Key) -> bool:
        return key in self.records

    def is_of_a_file(self, key: Key) -> bool:
        """Whether a record belongs to a file, so that the API may not touch it."""
        there = self.records.get(key)
        return there is not None and there.owner != API and self.is_watched(there.owner)

    def upstream(self, name: str) -> Upstream | None:
        """An upstream as it is written."""
        there = self._upstream(name)
        return there.value if there is not None else None

    def upstreams(self) -> list[Record[Upstream]]:
        """All upstreams as they are written, sorted by name."""
        return [cast(Record[Upstream], self.records[UPSTREAM, name]) for name in self.names(UPSTREAM)]

    def names(self, kind: str) -> list[str]:
        """The names of all records of a kind, sorted."""
        return sorted(self._names[kind])

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return len(self._names[kind])

    def overrides(self, upstream: str) -> dict[str, TargetOverride]:
        """What lies over the targets of an upstream, by target."""
        return {target: override.value for target, override in self._over(upstream).items()}

    def expired(self, now: datetime) -> frozenset[Key]:
        """The overrides whose time is over."""
        return frozenset((OVERRIDE, name) for name, expires in self._expiring.items() if expires <= now)

    def apply(self, revision: int, changes: Changes, values: Mapping[Key, Value] | None = None) -> None:
        """Make this what it is after `revision`. `values`: what the entries say, where that is known."""
        for key, change in changes.items():
            self._take_out(key)
            if change.entry is not None:
                model = values[key] if values is not None else None
                self._put_in(key, record(key, Held(change.entry, revision), self.recent, model))
        self.revision = revision

    def load(self, revision: int, records: Mapping[Key, AnyRecord]) -> set[Key]:
        """Make this what the store says, and return which records are something else than before."""
        changed = {key for key, there in self.records.items() if key not in records or records[key].held != there.held}
        changed |= records.keys() - self.records.keys()
        for key in changed:
            self._take_out(key)
            if key in records:
                self._put_in(key, records[key])
        self.revision = revision
        return changed

    def delivered(self, keys: Iterable[Key]) -> Delivered:
        """What delivery needs to know of changed records: definitions with the overrides over them."""
        upstreams = {split_name(name)[0] if kind == OVERRIDE else name for kind, name in keys if kind != GATEWAY}
        gateways = {name for kind, name in keys if kind == GATEWAY}
        there = {name: upstream for name in upstreams if (upstream := self.effective(name)) is not None}
        listening = {name: gateway for name in gateways if (gateway := self._gateway(name)) is not None}
        return Delivered(there, frozenset(upstreams - there.keys()), listening, frozenset(gateways - listening.keys()))

    def neighbours(self, keys: Set[Key], wanted: Mapping[Key, Value]) -> Iterator[Key]:
        """Records with which what is `wanted` of `keys` could clash, and those that need what `keys` take away."""
        for key, value in wanted.items():
            if isinstance(value, Upstream):
                said = self.records[key].facts if key in self.records else None
                if said is not None and (said.virtual_hosts, said.nodes) == (value.virtual_hosts, value.nodes):
                    continue  # it claims what it claimed before: by what clashes with that, it is what changes
                for host in value.virtual_hosts:
                    yield from ((UPSTREAM, name) for name in self._by_host.get(host, ()))
            elif isinstance(value, Gateway):
                yield from ((GATEWAY, name) for name in self._by_port.get(value.port, ()))
                if value.upstream is not None:
                    yield (UPSTREAM, value.upstream)
        for kind, name in keys:
            if kind == UPSTREAM:
                yield from ((GATEWAY, gateway) for gateway in self._forwarding.get(name, ()))

    def effective(self, name: str) -> Located[Upstream] | None:
        """An upstream with the overrides over it."""
        there = self._upstream(name)
        over = self._over(name)
        return Overridden(there, over, self.recent, self._laid) if there is not None and over else there

    def _upstream(self, name: str) -> Record[Upstream] | None:
        return cast(Record[Upstream] | None, self.records.get((UPSTREAM, name)))

    def _gateway(self, name: str) -> Record[Gateway] | None:
        return cast(Record[Gateway] | None, self.records.get((GATEWAY, name)))

    def _over(self, upstream: str) -> dict[str, Record[TargetOverride]]:
        """The overrides of an upstream's targets, by target."""
        names = sorted(self._overridden.get(upstream, ()))
        return {split_name(name)[1]: cast(Record[TargetOverride], self.records[OVERRIDE, name]) for name in names}

    def _put_in(self, key: Key, there: AnyRecord) -> None:
        self.records[key] = there
        self._names[key[0]].add(key[1])
        self.targets += there.facts.targets
        if there.facts.expires is not None:
            self._expiring[key[1]] = there.facts.expires
        for index, entry in self._places(key, there):
            index.setdefault(entry, set()).add(key[1])

    def _take_out(self, key: Key) -> None:
        if (there := self.records.pop(key, None)) is None:
            return
        self._names[key[0]].discard(key[1])
        self.targets -= there.facts.targets
        if key[0] == OVERRIDE:
            self._expiring.pop(key[1], None)
        for index, entry in self._places(key, there):
            index[entry].discard(key[1])
            if not index[entry]:
                del index[entry]

    def _places(self, key: Key, there: AnyRecord) -> Iterator[tuple[dict[Any, set[str]], Hashable]]:
        """Where a record is found: indexes and entries in them."""
        facts = there.facts
        if key[0] == UPSTREAM:
            yield from ((self._by_host, host) for host in facts.virtual_hosts)
        elif key[0] == GATEWAY:
            yield self._by_port, facts.port
            if facts.upstream is not None:
                yield self._forwarding, facts.upstream
        else:
            yield self._overridden, split_name(key[1])[0]
