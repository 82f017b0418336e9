"""Everything in force, in memory: records with what they say, and what has to be found among them quickly. No I/O.

A change costs what it touches.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from xds_server.catalog.changes import Change as Delivered
from xds_server.catalog.overrides import Laid, TargetOverride, lay, split_name
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import API, GATEWAY, OVERRIDE, UPSTREAM, Changes, Entry, Held, Key
from xds_server.upstreams.model import Gateway, Placed, Upstream
from xds_server.upstreams.recent import Recent

D = TypeVar("D", Upstream, Gateway)
Value = Upstream | Gateway | TargetOverride
MODELS: Final[Mapping[str, type[Upstream] | type[Gateway] | type[TargetOverride]]] = {
    UPSTREAM: Upstream,
    GATEWAY: Gateway,
    OVERRIDE: TargetOverride,
}
THE_API: Final = "the API"
"""Stands where messages name the place of a definition that came through it."""


class Record(NamedTuple):
    """A record in force, and what it says."""

    held: Held
    value: Value

    @property
    def owner(self) -> str:
        """`API`, or the file that it is written in."""
        return self.held.entry.origin


def read(kind: str, entry: Entry) -> Value:
    """What an entry of the store says. Raises StoreError for what this version does not understand."""
    try:
        return MODELS[kind].model_validate(entry.data)
    except (KeyError, ValueError) as error:
        name = entry.data.get("name", "") if isinstance(entry.data, dict) else ""
        raise StoreError(
            f"the store cannot be read: this xds-server does not understand its {kind} {name!r}, which a newer one may have "
            f"written: use that one ({' '.join(str(error).split())})"
        ) from None


def read_all(entries: Mapping[Key, Entry]) -> dict[Key, Value]:
    """What entries say. Raises StoreError as `read` does."""
    return {key: read(key[0], entry) for key, entry in entries.items()}


def placed(entry: Entry, value: D) -> Placed[D]:
    """A definition, with its place for messages."""
    return Placed(THE_API if entry.origin == API else entry.origin, entry.line, value)


class Contents:
    """The records in force as of a revision."""

    def __init__(self) -> None:
        self.revision = 0
        self.is_watched: Callable[[str], bool] = lambda path: True
        """Whether a file is still a source: what is in one that is not may be taken over by the API."""
        self.records: dict[Key, Record] = {}
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
        record = self.records.get(key)
        return record is not None and record.owner != API and self.is_watched(record.owner)

    def upstream(self, name: str) -> Upstream | None:
        """An upstream as it is written."""
        record = self.records.get((UPSTREAM, name))
        return record.value if record is not None and isinstance(record.value, Upstream) else None

    def names(self, kind: str) -> list[str]:
        """The names of all records of a kind, sorted."""
        return sorted(self._names[kind])

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return len(self._names[kind])

    def overrides(self, upstream: str) -> dict[str, TargetOverride]:
        """What lies over the targets of an upstream, by target."""
        names = self._overridden.get(upstream, ())
        found = ((split_name(name)[1], self.records[OVERRIDE, name].value) for name in sorted(names))
        return {target: value for target, value in found if isinstance(value, TargetOverride)}

    def expired(self, now: datetime) -> frozenset[Key]:
        """The overrides whose time is over."""
        return frozenset((OVERRIDE, name) for name, expires in self._expiring.items() if expires <= now)

    def apply(self, revision: int, changes: Changes, values: Mapping[Key, Value] | None = None) -> None:
        """Make this what it is after `revision`. `values`: what the entries say, where that is known."""
        for key, change in changes.items():
            self._take_out(key)
            if change.entry is not None:
                value = values[key] if values is not None else read(key[0], change.entry)
                self._put_in(key, Record(Held(change.entry, revision), value))
        self.revision = revision

    def load(self, revision: int, held: Mapping[Key, Held], values: Mapping[Key, Value]) -> set[Key]:
        """Make this what the store says, and return which records are something else than before."""
        changed = {key for key, record in self.records.items() if held.get(key) != record.held}
        changed |= held.keys() - self.records.keys()
        for key in changed:
            self._take_out(key)
            if key in held:
                self._put_in(key, Record(held[key], values[key]))
        self.revision = revision
        return changed

    def delivered(self, keys: Iterable[Key]) -> Delivered:
        """What delivery needs to know of changed records: definitions with the overrides over them."""
        upstreams = {split_name(name)[0] if kind == OVERRIDE else name for kind, name in keys if kind != GATEWAY}
        gateways = {name for kind, name in keys if kind == GATEWAY}
        there = {name: upstream for name in upstreams if (upstream := self._effective(name)) is not None}
        listening = {name: gateway for name in gateways if (gateway := self._gateway(name)) is not None}
        return Delivered(there, frozenset(upstreams - there.keys()), listening, frozenset(gateways - listening.keys()))

    def neighbours(self, keys: Set[Key], wanted: Mapping[Key, Value]) -> Iterator[Key]:
        """Records with which what is `wanted` of `keys` could clash, and those that need what `keys` take away."""
        for value in wanted.values():
            if isinstance(value, Upstream):
                for host in value.virtual_hosts:
                    yield from ((UPSTREAM, name) for name in self._by_host.get(host, ()))
            elif isinstance(value, Gateway):
                yield from ((GATEWAY, name) for name in self._by_port.get(value.port, ()))
                if value.upstream is not None:
                    yield (UPSTREAM, value.upstream)
        for kind, name in keys:
            if kind == UPSTREAM:
                yield from ((GATEWAY, gateway) for gateway in self._forwarding.get(name, ()))

    def _effective(self, name: str) -> Placed[Upstream] | None:
        record = self.records.get((UPSTREAM, name))
        if record is None or not isinstance(record.value, Upstream):
            return None
        if not (overrides := self.overrides(name)):
            return placed(record.held.entry, record.value)
        laid = lay(record.value, overrides, self._laid.get(name))
        self._laid.put(name, laid, len(laid.whole.targets))
        return placed(record.held.entry, laid.whole)

    def _gateway(self, name: str) -> Placed[Gateway] | None:
        record = self.records.get((GATEWAY, name))
        if record is None or not isinstance(record.value, Gateway):
            return None
        return placed(record.held.entry, record.value)

    def _put_in(self, key: Key, record: Record) -> None:
        self.records[key] = record
        self._names[key[0]].add(key[1])
        if isinstance(record.value, Upstream):
            self.targets += len(record.value.targets)
        elif isinstance(record.value, TargetOverride) and record.value.expires is not None:
            self._expiring[key[1]] = record.value.expires
        for index, entry in self._places(key, record.value):
            index.setdefault(entry, set()).add(key[1])

    def _take_out(self, key: Key) -> None:
        if (record := self.records.pop(key, None)) is None:
            return
        self._names[key[0]].discard(key[1])
        if isinstance(record.value, Upstream):
            self.targets -= len(record.value.targets)
        elif key[0] == OVERRIDE:
            self._expiring.pop(key[1], None)
        for index, entry in self._places(key, record.value):
            index[entry].discard(key[1])
            if not index[entry]:
                del index[entry]

    def _places(self, key: Key, value: Value) -> Iterator[tuple[dict[Any, set[str]], Hashable]]:
        """Where a record is found: indexes and entries in them."""
        if isinstance(value, Upstream):
            yield from ((self._by_host, host) for host in value.virtual_hosts)
        elif isinstance(value, Gateway):
            yield self._by_port, value.port
            if value.upstream is not None:
                yield self._forwarding, value.upstream
        else:
            yield self._overridden, split_name(key[1])[0]
