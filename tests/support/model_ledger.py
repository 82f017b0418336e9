"""What is known of one type on one stream, told from outside: what was asked for, sent and answered, and what is due."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from model_client import FULL_SETS, Side, clusters_of

from xds_server.xds import ROUTES, Snapshot

MOST_TRIES = 8
"""Responses that may follow from one rejection."""


class Said(NamedTuple):
    """What a response says."""

    version: str
    bodies: dict[str, bytes]
    versions: dict[str, str]
    new: set[str]
    """Of `bodies`, those that the client lacks or asked for."""
    removed: set[str]
    is_try: bool
    """It has nothing but resources that were rejected beside others."""
    left_out: frozenset[str] = frozenset()
    """Full sets: what exists and is not among `bodies`, as the client refused it."""

    def kept_back(self, ledger: Ledger) -> set[str]:
        """Of `new`, what stands in for a version that was refused."""
        return {name for name in self.new if ledger.barred.get(name) not in (None, self.versions[name])}


class Sent(NamedTuple):
    """A response that is not answered yet."""

    version: str
    names: frozenset[str]
    contents: dict[str, str]
    """Versions of all that is in it."""
    added: frozenset[str]
    removed: frozenset[str]
    is_try: bool
    released: frozenset[str]
    """Clusters that routes in it no longer use."""
    since: float
    """SotW: since when a response of this type is not answered."""


@dataclass
class Ledger:
    """One type on one stream, as the server may know it."""

    side: Side
    """The type as the client knows it."""
    delta: bool
    leaves_errors: bool = False
    """The client repeats an old error beside the version that it took (S19)."""
    requested: bool = False
    begun: bool = False
    spoken: bool = False
    """Something was sent."""
    inherited: set[str] = field(default_factory=set)
    """What the client may hold without saying so (D20)."""
    wildcard: bool = False
    names: frozenset[str] = frozenset()
    claimed: dict[str, str] | str = ""
    """What the first request said that the client holds."""
    sent: dict[str, str] = field(default_factory=dict)
    """Versions that the client was last sent, or said that it holds."""
    content: dict[str, bytes] = field(default_factory=dict)
    """Bodies last sent. SotW full sets: of the last response."""
    asked: set[str] = field(default_factory=set)
    """Names that wait for an answer."""
    calm: set[str] = field(default_factory=set)
    """Those of `asked` that may wait for their turn: a returning client holds them, or they are removed by now."""
    answer_due: bool = False
    """A whole set was asked for: even nothing is an answer (S15, D32)."""
    may_answer: bool = False
    """An empty answer would do no harm."""
    urgent: bool = False
    """Something was asked for: what else is due comes with it."""
    again: set[str] = field(default_factory=set)
    """Names that must be sent again although nothing changed (S57)."""
    tries: set[str] = field(default_factory=set)
    """Of `may`, those that were rejected for another's sake, maybe, and may be sent for nothing else."""
    tries_left: int = 0
    barred: dict[str, str] = field(default_factory=dict)
    """Versions that were rejected for their own sake."""
    accepted: dict[str, str] | None = None
    """SotW full sets: versions last accepted as a whole; None when that is not known."""
    complete: bool = False
    """What is not among `accepted` the client does not hold."""
    may: set[str] = field(default_factory=set)
    """Names that may be."""
    behind: dict[str, float] = field(default_factory=dict)
    """Names that the client should be told of, and since when."""
    gone_since: float | None = None
    parked: list[set[str]] = field(default_factory=list)
    waiting: dict[str, Sent] = field(default_factory=dict)
    """By nonce."""
    rejections: bool = False
    refused_removals: set[str] = field(default_factory=set)
    seen: Snapshot | None = None

    @property
    def type_url(self) -> str:
        return self.side.type_url

    @property
    def kind(self) -> str:
        """The type in a word."""
        return self.type_url.rpartition(".")[2]

    @property
    def is_full_set(self) -> bool:
        """Each response says everything (S42)."""
        return not self.delta and self.type_url in FULL_SETS

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Names of which the client lacks what `snapshot` has, or holds what it has not."""
        side = self.side
        wanted = {*snapshot.names(self.type_url), *self.sent, *self.asked} if side.wildcard else side.names
        missing = []
        for name in sorted(wanted):
            resource, known = snapshot.get(self.type_url, name), self.sent.get(name)
            if resource is not None and self.barred.get(name) == resource.version and not self.delta:
                lacks = False
            elif resource is not None:
                lacks = known != resource.version or name in self.asked | self.again
            else:
                lacks = known is not None and (self.delta or self.type_url in FULL_SETS)
                lacks |= self.delta and name in self.asked
            if lacks:
                missing.append(name)
        return missing

    def release(self, parked: set[str], moved: set[str]) -> None:
        """What was rejected together may be tried again, as some of it changed."""
        self.parked.remove(parked)
        self.may |= parked - moved
        self.tries = (self.tries | parked) - moved
        self.tries_left = MOST_TRIES

    def unsettle(self) -> None:
        """The stream ends, with answers under way: who knows what the client took."""
        for waiting in self.waiting.values():
            self.side.unsettled |= {"*"} if self.is_full_set else waiting.names

    def note(self, nonce: str, said: Said, now: float) -> None:
        """A response went out."""
        bodies, new, removed = said.bodies, said.new, said.removed
        added = {name for name in new - self.asked if self.sent.get(name) is None}
        released = self._released(said)
        self.spoken = True
        if self.is_full_set:
            self.content, self.sent = dict(bodies), dict(said.versions)
            self.asked.clear()
        else:
            self.content |= bodies
            self.sent |= said.versions
            for name in removed:
                self.content.pop(name, None)
                self.sent.pop(name, None)
        for name in new | removed:
            self.behind.pop(name, None)
        self.asked -= bodies.keys() | removed
        self.calm &= self.asked
        self.again -= bodies.keys()
        self.tries -= bodies.keys()
        self.may -= bodies.keys() | removed
        self.inherited -= bodies.keys() | removed
        self.refused_removals.clear()
        self.answer_due = self.may_answer = self.urgent = False
        since = now
        if not self.delta:
            released |= frozenset().union(*(waiting.released for waiting in self.waiting.values()))
            added |= set().union(*(waiting.added for waiting in self.waiting.values()))
            since = min((waiting.since for waiting in self.waiting.values()), default=now)
            for waiting in self.waiting.values():
                if waiting.is_try:  # what comes of it is not known now
                    self.may |= waiting.names
                    self.tries |= waiting.names
            self.waiting.clear()
        names = frozenset(new if self.is_full_set else said.versions)
        self.waiting[nonce] = Sent(
            said.version, names, said.versions, frozenset(added), frozenset(removed), said.is_try, released, since
        )

    def _released(self, said: Said) -> frozenset[str]:
        """Clusters that routes in a response no longer use."""
        released: frozenset[str] = frozenset()
        if self.type_url == ROUTES:
            for name in said.new | said.removed:
                released |= clusters_of(self.content.get(name, b"")) - clusters_of(said.bodies.get(name, b""))
        return released
