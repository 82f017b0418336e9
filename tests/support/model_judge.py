"""Judges what a server sends on one stream: nothing without a reason, nothing too late, nothing too early.

The rules are the protocol's (numbers: the conformance list), told from outside: from requests, snapshots and responses. The
client's own state (see `model_client`) shows whether all of that was enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model_client import FULL_SETS, ModelClient, endpoints_of, name_in
from model_ledger import Ledger, Said
from model_order import Order
from model_requests import take_note

from xds_server.xds import CLUSTER, ENDPOINTS, Resource, Snapshot

LATEST = 3.1
"""Seconds by which everything is sent, whatever the client does: 2 for removals, 1 for pacing."""
RESCUE = 10.0
"""Seconds after which an Envoy that never asked for clusters may be sent them (S71)."""


class Judge:
    """`past` finds what a type held when it had a version (names and versions), or None. `bodies`: by type and version."""

    def __init__(
        self,
        client: ModelClient,
        past: Callable[[str, str], dict[str, str] | None],
        bodies: Mapping[tuple[str, str], bytes],
        now: float,
    ) -> None:
        self.client, self._past, self._bodies, self._opened = client, past, bodies, now
        self.delta = client.profile.delta
        self.ledgers: dict[str, Ledger] = {}
        self._order = Order(self.ledgers)
        self._nonces: set[str] = set()

    def request(self, type_url: str, message: Any) -> str:
        """Take note of a request. Returns the event that must follow, if any."""
        ledger = self.ledgers.get(type_url)
        if ledger is None or not (ledger.requested or message.response_nonce):
            if ledger is not None:
                ledger.unsettle()
            ledger = self._begin_ledger(type_url)  # what was sent unasked counts if it is answered (S71)
        return take_note(ledger, message)

    def _begin_ledger(self, type_url: str) -> Ledger:
        side, envoy = self.client.sides[type_url], self.client.profile.envoy
        ledger = self.ledgers[type_url] = Ledger(side, self.delta, leaves_errors=envoy)
        return ledger

    def close(self) -> None:
        """The stream ends, with answers under way."""
        for ledger in self.ledgers.values():
            ledger.unsettle()

    # Before and after the server speaks

    def look(self, snapshot: Snapshot, now: float) -> None:
        """The server is about to speak: what does the client lack?"""
        for type_url, ledger in self.ledgers.items():
            if not ledger.begun:
                self._begin(ledger)
            if ledger.seen is not None and ledger.seen is not snapshot:
                _second_tries(ledger, ledger.seen, snapshot)
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
            missing = ledger.missing(snapshot)
            if back := ledger.behind.keys() - missing:
                ledger.tries -= back
                ledger.may |= back  # changed back before it was sent: sending it is not needed, and does no harm
                ledger.may_answer = True
            ledger.behind = {name: ledger.behind.get(name, now) for name in missing}
            if any(snapshot.get(type_url, name) is None for name in missing):
                ledger.gone_since = now if ledger.gone_since is None else ledger.gone_since
            else:
                ledger.gone_since = None

    def _begin(self, ledger: Ledger) -> None:
        ledger.begun = True
        side = ledger.side
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
            full = ledger.type_url in FULL_SETS
            past = self._past(ledger.type_url, ledger.claimed) if side.wildcard and full else None
            ledger.sent = dict(past or {})
            if past is not None or not (ledger.claimed or side.unsettled):
                ledger.accepted = dict(past or {})
                ledger.complete = not side.unsettled
            ledger.answer_due = side.wildcard and past is None and (full or not ledger.claimed)
            ledger.may_answer |= side.wildcard
            ledger.urgent |= side.wildcard
            if past is not None:
                ledger.asked.clear()  # the version says it all (S67)

    def check(self, snapshot: Snapshot, now: float, next_try: float | None, awake_since: float) -> None:
        """The server has nothing more to say now."""
        assert next_try is None or next_try > now, "it says that it has more to say, and does not say it"
        self._order.pause()
        for type_url, ledger in self.ledgers.items():
            missing = ledger.missing(snapshot)
            ledger.urgent = False
            assert not ledger.answer_due, f"S15, D32: a request for all of {ledger.kind} is not answered"
            asked = ledger.asked - ledger.calm
            late = [n for n in missing if n in asked and (self.delta or snapshot.get(type_url, n))]
            assert not late, f"S14, S35, S36, D7, D8: {ledger.kind} {late} asked for and not answered at once"
            if not self.delta:
                ledger.asked.clear()  # what does not exist is remembered in silence (S39)
            for name in missing:
                assert next_try is not None, f"{ledger.kind} {name!r} is owed and nothing is scheduled"
                since = max(ledger.behind[name], awake_since)
                assert now - since <= LATEST or not ledger.requested, f"{ledger.kind} {name!r} is put off for ever"

    def at_rest(self, snapshot: Snapshot) -> None:
        """Everything is said and answered."""
        for ledger in self.ledgers.values():
            assert not ledger.missing(snapshot), ledger.kind
            assert not ledger.waiting, f"{ledger.kind}: a response that was answered is waited for"

    # Responses

    def sent(self, message: Any, snapshot: Snapshot, now: float) -> None:
        """A response goes out."""
        type_url = message.type_url
        if type_url not in self.ledgers:
            self._rescue(type_url, now)
            self.look(snapshot, now)
        ledger = self.ledgers[type_url]
        assert message.nonce, "S9: a nonce is never empty"
        assert message.nonce not in self._nonces, "S9: a nonce is never used twice"
        self._nonces.add(message.nonce)
        version = message.system_version_info if self.delta else message.version_info
        said = _understand(ledger, version, *self._read(message), snapshot, self._bodies)
        _has_reason(ledger, said, snapshot)
        self._order.check(ledger, said, snapshot, now)
        if type_url == CLUSTER:
            self._owe_endpoints(said, snapshot)
        ledger.note(message.nonce, said, now)

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

    def _rescue(self, type_url: str, now: float) -> None:
        assert type_url == CLUSTER, f"{type_url} was never asked for"
        assert self.client.profile.envoy, "S71 is for Envoys"
        assert self.client.profile.aggregated, "S71 is for aggregated streams"
        assert now - self._opened > RESCUE - 1e-6, "S71 comes after a while"
        ledger = self._begin_ledger(type_url)
        ledger.wildcard = ledger.side.wildcard = True

    def _owe_endpoints(self, said: Said, snapshot: Snapshot) -> None:
        ledger = self.ledgers.get(ENDPOINTS)
        if ledger is None or not ledger.begun:
            return
        for name, body in said.bodies.items():
            if needed := endpoints_of(body):
                ledger.may.add(needed)
                ledger.barred.pop(needed, None)
                if not ledger.side.wants(needed):
                    continue
                for parked in [parked for parked in ledger.parked if needed in parked]:
                    ledger.release(parked, set())
                if name in said.new and snapshot.get(CLUSTER, name) is not None:
                    ledger.again.add(needed)  # S57, D13
                    ledger.tries.discard(needed)


def _second_tries(ledger: Ledger, old: Snapshot, new: Snapshot) -> None:
    """What was rejected beside a resource may be tried again when that changes or goes."""
    type_url = ledger.type_url
    for name in [name for name in ledger.barred if old.get(type_url, name) != new.get(type_url, name)]:
        del ledger.barred[name]
        if ledger.complete and name not in (ledger.accepted or ()):
            ledger.sent.pop(name, None)  # it was never taken
    for parked in list(ledger.parked):
        moved = {name for name in parked if old.get(type_url, name) != new.get(type_url, name)}
        if any(ledger.side.wants(name) for name in moved):
            ledger.release(parked, moved)


def _understand(
    ledger: Ledger,
    version: str,
    bodies: dict[str, bytes],
    removed: set[str],
    snapshot: Snapshot,
    known: Mapping[tuple[str, str], bytes],
) -> Said:
    """What a response means to the client, which was sent no more and no less than what exists."""
    type_url, side = ledger.type_url, ledger.side
    versions = {}
    for name, body in bodies.items():
        assert side.wants(name), f"B17, S51: {name!r} was not asked for"
        resource = snapshot.get(type_url, name)
        if resource is None:
            assert not ledger.delta, f"{name!r} does not exist"
            assert type_url in FULL_SETS, f"{name!r} does not exist"
            assert ledger.sent.get(name) is not None, f"{name!r} does not exist, and did not on this stream"
            versions[name] = ledger.sent[name]
        else:
            versions[name] = _version(ledger, resource, body, known)
    left_out: set[str] = set()
    if ledger.is_full_set:
        left_out = {name for name in snapshot.names(type_url) if side.wants(name) and name not in bodies}
        for name in left_out:
            assert name in ledger.barred, f"S42: {name!r} is missing from the full set"
            assert name not in side.held or name in side.lost, f"S42: {name!r} is held, and left out"
        removed = {name for name in ledger.sent if side.wants(name) and name not in bodies}
    new = {name for name, version in versions.items() if ledger.sent.get(name) != version or name in ledger.asked}
    extra = versions.keys() - new
    is_try = bool(extra) and extra <= ledger.tries and not new
    return Said(version, bodies, versions, new, removed, is_try, frozenset(left_out))


def _version(ledger: Ledger, resource: Resource, body: bytes, known: Mapping[tuple[str, str], bytes]) -> str:
    """The version of what is sent under a name: the newest, or in a full set the last accepted one of what was refused."""
    name, accepted = resource.name, ledger.accepted or {}
    if ledger.is_full_set and ledger.barred.get(name) == resource.version and name in accepted:
        assert body == known[ledger.type_url, accepted[name]], f"S20: {name!r} was rejected, and did not change"
        return accepted[name]
    assert body == resource.body, f"{name!r} is not what the snapshot says"
    return resource.version


def _has_reason(ledger: Ledger, said: Said, snapshot: Snapshot) -> None:
    """Nothing is said that need not be said."""
    if ledger.is_full_set:
        reason = said.new or said.removed or ledger.answer_due or ledger.may_answer or not ledger.content
        assert reason, "S17, S20: a full set without a reason"
        return
    ledger.tries_left -= said.is_try
    extra = said.versions.keys() - said.new
    assert ledger.tries_left >= 0, f"S20, B1: {sorted(extra)} are tried for ever"
    barred = {name for name in extra - ledger.again if ledger.barred.get(name) == said.versions[name]}
    assert not barred, f"S20, D30: {sorted(barred)} were rejected, and did not change"
    unasked = extra - ledger.again - ledger.may
    assert not unasked, f"S17, S20, D26: {sorted(unasked)} are sent without a reason"
    reason = said.bodies or said.removed or ledger.answer_due or ledger.may_answer
    assert reason, "an empty response without a reason"
    _removals(ledger, said.removed, snapshot)


def _removals(ledger: Ledger, removed: set[str], snapshot: Snapshot) -> None:
    there, wants = snapshot.names(ledger.type_url), ledger.side.wants
    for name in removed:
        assert name not in there, f"D27: {name!r} is removed, and exists"
        known = ledger.asked | ledger.may | ledger.refused_removals | ledger.inherited
        assert ledger.sent.get(name) is not None or name in known, f"D28: {name!r} is removed, and was never sent"
    still = {name for name in ledger.refused_removals if name not in there and wants(name)}
    assert still <= removed, f"D20: the rejected removal of {sorted(still - removed)} is not repeated"
