"""Judges what a server sends on one stream: nothing without a reason, nothing too late, nothing too early.

The rules are the protocol's (numbers: the conformance list), told from outside: from requests, snapshots and responses. The
client's own state (see `model_client`) shows whether all of that was enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from model_client import FULL_SETS, ModelClient, Side, clusters_of, endpoints_of, name_in

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME, Snapshot

RANK = {CLUSTER: 0, ENDPOINTS: 1, RUNTIME: 2, LISTENER: 3, ROUTES: 4}
LATEST = 3.1
"""Seconds by which everything is sent, whatever the client does: 2 for removals, 1 for pacing."""
WARM, BREAK = 1.0, 2.0
"""Seconds that routes wait for new clusters, and removals for routes."""
RESCUE = 10.0
"""Seconds after which an Envoy that never asked for clusters may be sent them (S71)."""


class Sent(NamedTuple):
    """A response that is not answered yet."""

    names: frozenset[str]
    added: frozenset[str]
    removed: frozenset[str]
    second_try: bool
    released: frozenset[str]
    """Clusters that routes in it no longer use."""
    since: float
    """SotW: since when a response of this type is not answered."""


@dataclass
class Ledger:
    """One type on one stream, as the server may know it."""

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
    """Names that must be sent again although nothing changed (S57, and a second try)."""
    tries: set[str] = field(default_factory=set)
    """Of `again` and `may`, those that are due for their second try and for nothing else."""
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


class Judge:
    """`past` finds what a type held when it had a version (names and versions), or None."""

    def __init__(self, client: ModelClient, past: Callable[[str, str], dict[str, str] | None], now: float) -> None:
        self.client, self._past, self._opened = client, past, now
        self.delta = client.profile.delta
        self.ledgers: dict[str, Ledger] = {}
        self._nonces: set[str] = set()
        self._rank = 0

    def _side(self, type_url: str) -> Side:
        return self.client.sides[type_url]

    # Requests

    def request(self, type_url: str, message: Any) -> str:
        """Take note of a request. Returns the event that must follow, if any."""
        ledger = self.ledgers.get(type_url)
        if ledger is None or not (ledger.requested or message.response_nonce):
            if ledger is not None:
                self._unsettle(type_url, ledger)
            ledger = self.ledgers[type_url] = Ledger()  # what was sent unasked counts if it is answered (S71)
        event = self._answer(ledger, message)
        side = self._side(type_url)
        wildcard, names = ledger.wildcard, ledger.names
        ledger.wildcard, ledger.names = side.wildcard, frozenset(side.names)
        if self.delta:
            asked = set(message.resource_names_subscribe) - {"*"}
            dropped = set(message.resource_names_unsubscribe) - {"*"}
            if "*" in message.resource_names_subscribe:
                ledger.may |= ledger.sent.keys()
                ledger.may_answer = True
            if side.wildcard:
                ledger.may |= dropped
                ledger.asked |= dropped & names if ledger.begun else set()  # D11
            ledger.urgent |= bool(asked)
            ledger.asked = (ledger.asked | asked) - (set() if side.wildcard and ledger.begun else dropped)
            claimed: dict[str, str] | str = dict(message.initial_resource_versions)
        else:
            again = not message.response_nonce and ledger.spoken and not ledger.waiting  # S30
            ledger.asked |= {*side.names, *ledger.sent} if again else side.names - names
            ledger.answer_due |= again and side.wildcard
            ledger.may_answer |= bool(side.names - names)
            claimed = message.version_info
        if not ledger.requested:
            ledger.requested, ledger.claimed = True, claimed
            if ledger.begun and isinstance(claimed, dict):
                ledger.sent = {**claimed, **ledger.sent}
        if side.wildcard and not wildcard:
            ledger.answer_due = ledger.begun
            ledger.may |= ledger.sent.keys()
        for name in [name for name in ledger.sent if not side.wants(name) and name not in ledger.asked]:
            del ledger.sent[name]
        for names in (ledger.asked, ledger.refused_removals):
            names.intersection_update([name for name in names if side.wants(name)])
        return event

    def _answer(self, ledger: Ledger, message: Any) -> str:
        nonce = message.response_nonce
        known = ledger.waiting.pop(nonce, None)
        if known is None:
            return ""
        side, full = self._side(message.type_url), not self.delta and message.type_url in FULL_SETS
        if not message.HasField("error_detail"):
            side.unsettled -= side.unsettled if full else known.names | known.removed
            return "acknowledged"
        ledger.rejections = True
        side.unsettled |= {"*"} if full else known.names
        asked = {name for name in known.removed if ledger.wildcard or name in ledger.names}
        ledger.refused_removals |= (asked - ledger.sent.keys()) if self.delta else set()
        # They may refuse one for the other's sake.
        if len(known.names) > 1 and not known.second_try and not full:
            ledger.parked.append(set(known.names))
        return "rejected"

    def close(self) -> None:
        """The stream ends, with answers under way."""
        for type_url, ledger in self.ledgers.items():
            self._unsettle(type_url, ledger)

    def _unsettle(self, type_url: str, ledger: Ledger) -> None:
        full = not self.delta and type_url in FULL_SETS
        for waiting in ledger.waiting.values():
            self._side(type_url).unsettled |= {"*"} if full else waiting.names

    # Before and after the server speaks

    def look(self, snapshot: Snapshot, now: float) -> None:
        """The server is about to speak: what does the client lack?"""
        for type_url, ledger in self.ledgers.items():
            if not ledger.begun:
                self._begin(type_url, ledger, snapshot)
            if ledger.seen is not None and ledger.seen is not snapshot:
                self._second_tries(type_url, ledger, ledger.seen, snapshot)
                was = set(ledger.seen.names(type_url))
                ledger.calm |= {n for n in ledger.asked & was if snapshot.get(type_url, n) is None}
            ledger.seen = snapshot
            for name in [name for name in ledger.refused_removals if snapshot.get(type_url, name) is not None]:
                # It came back: it is sent, and taken away again in its turn, like what the client may hold.
                ledger.refused_removals.discard(name)
                ledger.sent.setdefault(name, "of a rejected removal")
            if not self.delta and type_url not in FULL_SETS:
                # It cannot be said that these are gone; what used them told, and the client may have dropped them (S44).
                ledger.sent = {name: v for name, v in ledger.sent.items() if snapshot.get(type_url, name) is not None}
            missing = self._missing(type_url, ledger, snapshot)
            if back := ledger.behind.keys() - missing:
                ledger.tries -= back
                ledger.may |= back  # changed back before it was sent: sending it is not needed, and does no harm
                ledger.may_answer = True
            ledger.behind = {name: ledger.behind.get(name, now) for name in missing}
            if any(snapshot.get(type_url, name) is None for name in missing):
                ledger.gone_since = now if ledger.gone_since is None else ledger.gone_since
            else:
                ledger.gone_since = None

    def _begin(self, type_url: str, ledger: Ledger, snapshot: Snapshot) -> None:
        ledger.begun = True
        side = self._side(type_url)
        ledger.asked |= side.names
        ledger.calm = set(side.names) if ledger.claimed else side.names & side.unsettled
        if side.wildcard:
            ledger.inherited = set(side.unsettled)
            ledger.may |= side.unsettled
            ledger.may_answer |= bool(side.unsettled)
        if isinstance(ledger.claimed, dict):
            ledger.sent = dict(ledger.claimed) if side.wildcard else {}
            ledger.answer_due = side.wildcard and not ledger.claimed
        else:
            full = type_url in FULL_SETS
            past = self._past(type_url, ledger.claimed) if side.wildcard and full else None
            ledger.sent = dict(past or {})
            ledger.answer_due = side.wildcard and past is None and (full or not ledger.claimed)
            ledger.may_answer |= side.wildcard
            ledger.urgent |= side.wildcard
            if past is not None:
                ledger.asked.clear()  # the version says it all (S67)

    def _second_tries(self, type_url: str, ledger: Ledger, old: Snapshot, new: Snapshot) -> None:
        """What was rejected beside a resource is due once more when that changes or goes."""
        for parked in list(ledger.parked):
            moved = {name for name in parked if old.get(type_url, name) != new.get(type_url, name)}
            if any(self._side(type_url).wants(name) for name in moved):
                ledger.parked.remove(parked)
                ledger.again |= parked - moved
                ledger.tries = (ledger.tries | parked) - moved

    def _missing(self, type_url: str, ledger: Ledger, snapshot: Snapshot) -> list[str]:
        side = self._side(type_url)
        wanted = {*snapshot.names(type_url), *ledger.sent, *ledger.asked} if side.wildcard else side.names
        missing = []
        for name in sorted(wanted):
            resource, known = snapshot.get(type_url, name), ledger.sent.get(name)
            if resource is not None:
                lacks = known != resource.version or name in ledger.asked | ledger.again
            else:
                lacks = known is not None and (self.delta or type_url in FULL_SETS)
                lacks |= self.delta and name in ledger.asked
            if lacks:
                missing.append(name)
        return missing

    def check(self, snapshot: Snapshot, now: float, next_try: float | None, awake_since: float) -> None:
        """The server has nothing more to say now."""
        assert next_try is None or next_try > now, "it says that it has more to say, and does not say it"
        self._rank = 0
        for type_url, ledger in self.ledgers.items():
            kind = type_url.rpartition(".")[2]
            self_missing = self._missing(type_url, ledger, snapshot)
            ledger.urgent = False
            assert not ledger.answer_due, f"S15, D32: a request for all of {kind} is not answered"
            asked = ledger.asked - ledger.calm
            late = [n for n in self_missing if n in asked and (self.delta or snapshot.get(type_url, n))]
            assert not late, f"S14, S35, S36, D7, D8: {kind} {late} asked for and not answered at once"
            if not self.delta:
                ledger.asked.clear()  # what does not exist is remembered in silence (S39)
            for name in self_missing:
                assert next_try is not None, f"{kind} {name!r} is owed and nothing is scheduled"
                since = max(ledger.behind[name], awake_since)
                assert now - since <= LATEST or not ledger.requested, f"{kind} {name!r} is put off for ever"

    def at_rest(self, snapshot: Snapshot) -> None:
        """Everything is said and answered."""
        for type_url, ledger in self.ledgers.items():
            kind = type_url.rpartition(".")[2]
            assert not self._missing(type_url, ledger, snapshot), kind
            assert not ledger.waiting, f"{kind}: a response that was answered is waited for"

    # Responses

    def sent(self, message: Any, snapshot: Snapshot, now: float) -> None:
        """A response goes out."""
        type_url = message.type_url
        if type_url not in self.ledgers:
            self._rescue(type_url, now)
            self.look(snapshot, now)
        ledger, side = self.ledgers[type_url], self._side(type_url)
        bodies, removed = self._read(message)
        assert message.nonce, "S9: a nonce is never empty"
        assert message.nonce not in self._nonces, "S9: a nonce is never used twice"
        self._nonces.add(message.nonce)
        versions = {}
        for name, body in bodies.items():
            assert side.wants(name), f"B17, S51: {name!r} was not asked for"
            resource = snapshot.get(type_url, name)
            if resource is None:
                assert not self.delta, f"{name!r} does not exist"
                assert type_url in FULL_SETS, f"{name!r} does not exist"
                assert ledger.sent.get(name) is not None, f"{name!r} does not exist, and did not on this stream"
                versions[name] = ledger.sent[name]
            else:
                assert body == resource.body, f"{name!r} is not what the snapshot says"
                versions[name] = resource.version
        full = not self.delta and type_url in FULL_SETS
        if full:
            due = [name for name in snapshot.names(type_url) if side.wants(name) and name not in bodies]
            assert not due, f"S42: {due} are missing from the full set"
            removed = {name for name in ledger.sent if side.wants(name) and name not in bodies}
        new = {name for name, version in versions.items() if ledger.sent.get(name) != version or name in ledger.asked}
        extra = versions.keys() - new
        second_try = bool(extra) and extra <= ledger.tries and not new
        if full:
            reason = new or removed or ledger.answer_due or ledger.may_answer or not ledger.content
            assert reason, "S17, S20: a full set without a reason"
        else:
            unasked = extra - ledger.again - ledger.may
            assert not unasked, f"S17, S20, D26: {sorted(unasked)} are sent without a reason"
            assert bodies or removed or ledger.answer_due or ledger.may_answer, "an empty response without a reason"
            self._removals(type_url, ledger, removed, snapshot)
        self._in_order(type_url, ledger, new, removed, bodies, snapshot, now)
        if type_url == CLUSTER:
            self._owe_endpoints(bodies, new)
        self._note(message, ledger, bodies, versions, new, removed, second_try, now)

    def _read(self, message: Any) -> tuple[dict[str, bytes], set[str]]:
        bodies: dict[str, bytes] = {}
        for entry in message.resources:
            body = entry.resource if self.delta else entry
            assert body.type_url == message.type_url, "S11: every Any has the response's type"
            name = name_in(message.type_url, body.value)
            if self.delta:
                assert name == entry.name, "D24: the wrapper's name is the body's"
                assert entry.version, "D22: every resource has a version"
            assert name not in bodies, "S45, D25: no name twice"
            bodies[name] = body.value
        removed = list(message.removed_resources) if self.delta else []
        assert len({*bodies, *removed}) == len(bodies) + len(removed), "D25: sent and removed at once"
        return bodies, set(removed)

    def _removals(self, type_url: str, ledger: Ledger, removed: set[str], snapshot: Snapshot) -> None:
        side = self._side(type_url)
        for name in removed:
            assert snapshot.get(type_url, name) is None, f"D27: {name!r} is removed, and exists"
            known = ledger.asked | ledger.may | ledger.refused_removals | ledger.inherited
            assert ledger.sent.get(name) is not None or name in known, f"D28: {name!r} is removed, and was never sent"
        still = {name for name in ledger.refused_removals if snapshot.get(type_url, name) is None and side.wants(name)}
        assert still <= removed, f"D20: the rejected removal of {sorted(still - removed)} is not repeated"

    def _rescue(self, type_url: str, now: float) -> None:
        assert type_url == CLUSTER, f"{type_url} was never asked for"
        assert self.client.profile.envoy, "S71 is for Envoys"
        assert self.client.profile.aggregated, "S71 is for aggregated streams"
        assert now - self._opened > RESCUE - 1e-6, "S71 comes after a while"
        self.ledgers[type_url] = Ledger(wildcard=True)
        self._side(type_url).wildcard = True

    def _in_order(
        self, type_url: str, ledger: Ledger, new: set[str], removed: set[str], bodies: dict[str, bytes],
        snapshot: Snapshot, now: float,
    ) -> None:  # fmt: skip
        """Make before break (S55, S56, S60, D33), on aggregated streams."""
        urgent = ledger.urgent or bool(ledger.asked) or ledger.answer_due
        if new and not urgent:
            assert RANK[type_url] >= self._rank, "B36: clusters, endpoints, listeners, routes, in this order"
            self._rank = RANK[type_url]
        clusters, routes = self.ledgers.get(CLUSTER), self.ledgers.get(ROUTES)
        if clusters is not None and not clusters.requested:
            clusters = None  # nothing waits for what was sent unasked (S71)
        if type_url == ROUTES and clusters is not None and not urgent:
            for name in new:
                fresh = clusters_of(bodies[name]) - clusters_of(ledger.content.get(name, b""))
                for used in (used for used in fresh if self._side(CLUSTER).wants(used) and snapshot.get(CLUSTER, used)):
                    assert used in clusters.sent, f"S55: route {name!r} needs cluster {used!r}, which was not sent"
                    warm = not any(used in waiting.added for waiting in clusters.waiting.values())
                    waited = warm or now - min(waiting.since for waiting in clusters.waiting.values()) > WARM - 1e-6
                    assert waited, f"S55: route {name!r} needs cluster {used!r}, which is not warm"
        removed = removed - ledger.asked - ledger.may
        if type_url == LISTENER and removed:
            side, there = self._side(LISTENER), snapshot.names(LISTENER)
            late = {name for name in there if side.wants(name) and name not in ledger.sent and name not in bodies}
            assert not late, f"a listener is removed before {sorted(late)}, which may take its place"
        if type_url == CLUSTER and routes is not None and removed:
            since = ledger.gone_since
            if since is not None and now - since > BREAK - 1e-6:
                return
            for route, body in routes.content.items():
                kept = snapshot.get(ROUTES, route)
                leaves = clusters_of(body) - (clusters_of(kept.body) if kept is not None else frozenset())
                if self._side(ROUTES).wants(route) and (kept is not None or self.delta):
                    assert not leaves & removed, (
                        f"S55: cluster {leaves & removed} is removed before route {route!r} lets go"
                    )
            for waiting in routes.waiting.values():
                assert not waiting.released & removed, (
                    f"S56: {waiting.released & removed} before the routes are answered"
                )

    def _owe_endpoints(self, bodies: dict[str, bytes], new: set[str]) -> None:
        ledger = self.ledgers.get(ENDPOINTS)
        if ledger is None or not ledger.begun:
            return
        for name, body in bodies.items():
            if needed := endpoints_of(body):
                ledger.may.add(needed)
                if not self._side(ENDPOINTS).wants(needed):
                    continue
                for parked in [parked for parked in ledger.parked if needed in parked]:
                    ledger.parked.remove(parked)
                    ledger.may |= parked
                    ledger.tries |= parked
                if name in new:
                    ledger.again.add(needed)  # S57, D13
                    ledger.tries.discard(needed)

    def _note(
        self, message: Any, ledger: Ledger, bodies: dict[str, bytes], versions: dict[str, str], new: set[str],
        removed: set[str], second_try: bool, now: float,
    ) -> None:  # fmt: skip
        added = {name for name in new - ledger.asked if ledger.sent.get(name) is None}
        released: frozenset[str] = frozenset()
        if message.type_url == ROUTES:
            for name in new | removed:
                old = clusters_of(ledger.content.get(name, b""))
                released |= old - clusters_of(bodies.get(name, b""))
        ledger.spoken = True
        full = not self.delta and message.type_url in FULL_SETS
        if full:
            ledger.content, ledger.sent = dict(bodies), dict(versions)
            ledger.asked.clear()
        else:
            ledger.content |= bodies
            ledger.sent |= versions
            for name in removed:
                ledger.content.pop(name, None)
                ledger.sent.pop(name, None)
        for name in new | removed:
            ledger.behind.pop(name, None)
        ledger.asked -= bodies.keys() | removed
        ledger.calm &= ledger.asked
        ledger.again -= bodies.keys()
        ledger.tries -= bodies.keys()
        ledger.may -= bodies.keys() | removed
        ledger.inherited -= bodies.keys() | removed
        ledger.refused_removals.clear()
        ledger.answer_due = ledger.may_answer = ledger.urgent = False
        since = now
        if not self.delta:
            released |= frozenset().union(*(waiting.released for waiting in ledger.waiting.values()))
            added |= set().union(*(waiting.added for waiting in ledger.waiting.values()))
            since = min((waiting.since for waiting in ledger.waiting.values()), default=now)
            ledger.waiting.clear()
        ledger.waiting[message.nonce] = Sent(
            frozenset(new if full else versions), frozenset(added), frozenset(removed), second_try, released, since
        )
