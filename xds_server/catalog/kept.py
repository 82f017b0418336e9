"""Records as they are kept in memory: their text and some facts. A model is made of one when it is asked for.

A target takes some 30 bytes as text and 800 as a model, and most of a large catalogue is hardly ever read. A model is there for
as long as anybody holds it; those that were asked for last are held here. All but `read` is for one thread alone.
"""

import weakref
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar, cast

from xds_server.catalog.facts import Facts, facts_of
from xds_server.catalog.overrides import Laid, TargetOverride, lay
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import API, GATEWAY, OVERRIDE, UPSTREAM, Entry, Held, Key
from xds_server.upstreams.model import Gateway, Located, Upstream
from xds_server.upstreams.recent import Recent

Value = Upstream | Gateway | TargetOverride
V = TypeVar("V", bound=Value)
D = TypeVar("D", bound=Upstream | Gateway)
Models = Recent[Value]
"""Those that were asked for last."""
MODELS: Final[Mapping[str, type[Upstream] | type[Gateway] | type[TargetOverride]]] = {
    UPSTREAM: Upstream,
    GATEWAY: Gateway,
    OVERRIDE: TargetOverride,
}
THE_API: Final = "the API"
"""Stands where messages name the place of a definition that came through it."""
MOST: Final = 20_000
"""Targets of which models are held: 16 MB or so."""
DIGEST: Final = 16
"""Bytes that stand for a definition."""


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


class _OnDemand(Generic[V]):
    __slots__ = ("_model", "_recent", "facts")

    def __init__(self, facts: Facts, recent: Models, model: V | None = None) -> None:
        self.facts = facts
        self._recent = recent
        self._model: weakref.ref[V] | None = weakref.ref(model) if model is not None else None

    @property
    def value(self) -> V:
        """What it says, as a model."""
        model: V | None = self._model() if self._model is not None else None
        if model is None:
            model = self.read()
            self._model = weakref.ref(model)
        self._recent.put(id(model), model, self.facts.targets)
        return model

    def read(self) -> V:
        """The same, held by the caller alone: for who reads many, in whatever thread."""
        raise NotImplementedError


class Record(_OnDemand[V]):
    """A record in force. It is a definition with its place, too: see `Located`."""

    __slots__ = ("held", "kind")

    def __init__(self, kind: str, held: Held, facts: Facts, recent: Models, model: V | None = None) -> None:
        super().__init__(facts, recent, model)
        self.kind, self.held = kind, held

    @property
    def owner(self) -> str:
        """`API`, or the file that it is written in."""
        return self.held.entry.origin

    @property
    def source(self) -> str:
        """The same in words."""
        return THE_API if self.owner == API else self.owner

    @property
    def line(self) -> int:
        """Where in the file; 0 for the API."""
        return self.held.entry.line

    def read(self) -> V:
        return cast(V, read(self.kind, self.held.entry))

    @property
    def digest(self) -> bytes:
        """Stands for what it says."""
        return _digest(self.kind, self.held.entry.document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and (self.kind, self.held.entry) == (other.kind, other.held.entry)

    def __hash__(self) -> int:
        return hash((self.kind, self.held.entry))

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Overridden(_OnDemand[Upstream]):
    """An upstream with what operators laid over its targets."""

    __slots__ = ("_laid", "below", "over")

    def __init__(
        self,
        below: Record[Upstream],
        over: Mapping[str, Record[TargetOverride]],
        recent: Models,
        laid: Recent[Laid] | None = None,
    ) -> None:
        """`laid`: what was laid over upstreams of late, by name."""
        super().__init__(below.facts, recent)
        self.below, self.over, self._laid = below, over, laid

    @property
    def source(self) -> str:
        """Of the definition."""
        return self.below.source

    @property
    def line(self) -> int:
        """Of the definition."""
        return self.below.line

    def read(self) -> Upstream:
        below, over = self.below.value, {target: override.value for target, override in self.over.items()}
        laid = lay(below, over, self._laid.get(below.name) if self._laid is not None else None)
        if self._laid is not None:
            self._laid.put(below.name, laid, len(laid.whole.targets))
        return laid.whole

    @property
    def digest(self) -> bytes:
        """Stands for what both say together."""
        return _digest(UPSTREAM, self.below.held.entry.document, *_said(self.over))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Overridden) and (self.below, self.over) == (other.below, other.over)

    def __hash__(self) -> int:
        return hash((self.below, *sorted(self.over)))

    def __str__(self) -> str:
        return str(self.below)


def read_apart(definition: Located[D]) -> D:
    """What a definition says, for another thread than that of the event loop."""
    return cast(D, definition.read()) if isinstance(definition, _OnDemand) else definition.value


def targets_of(definition: Located[Upstream]) -> int:
    """How many targets an upstream has."""
    return definition.facts.targets if isinstance(definition, _OnDemand) else len(definition.value.targets)


AnyRecord = Record[Upstream] | Record[Gateway] | Record[TargetOverride]


def record(key: Key, held: Held, recent: Models, model: Value | None = None, facts: Facts | None = None) -> Any:
    """A record of any kind. `model`: what it says, where that is known. `facts`: the same; without either it is read."""
    if facts is None:
        model = model if model is not None else read(key[0], held.entry)
        facts = facts_of(model)
    return Record(key[0], held, facts, recent, model)


def _said(over: Mapping[str, Record[TargetOverride]]) -> Iterator[str]:
    for target, override in sorted(over.items()):
        yield from (target, override.held.entry.document)


def _digest(*texts: str) -> bytes:
    digest = blake2b(digest_size=DIGEST)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
