"""One type on one recorded stream: what the client asked for, what it may hold, and what there is a reason to send it.

Written from the protocol's rules (the conformance list), not from the code under test. Where a rule leaves the server a choice,
any choice is taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from recorder_wire import Message

from xds_server.xds import CLUSTER, LISTENER, SCOPED_ROUTES, Resource, Snapshot
from xds_server.xds.group import Group
from xds_server.xds.rejection import likely_culprits

WHOLE_TYPES = frozenset({CLUSTER, LISTENER, SCOPED_ROUTES})
"""Asked for as a whole by a first request without names (S48); in SotW each response is everything (S42)."""


MOST_TRIES = 8
"""Responses that may follow from one rejection, without any change."""


class Sent(NamedTuple):
    """A response, as far as its answer needs it."""

    resources: dict[str, Resource | None]
    removed: tuple[str, ...]
    is_try: bool


class TypeRecord:
    """See the module. `due` is the heart: names that there is a reason to send."""

    def __init__(self, type_url: str, *, delta: bool) -> None:
        self.type_url, self.delta = type_url, delta
        self.full_set = not delta and type_url in WHOLE_TYPES
        self.requested = self.named = self.wildcard = False
        self.names: set[str] = set()
        self.held: dict[str, Resource | None] = {}
        """What the client may hold, as last sent; None for what only it knows of."""
        self.claimed = ""
        """SotW: the version that the first request said."""
        self.seen: Snapshot | None = None
        """The snapshot up to which changes were followed."""
        self.due: set[str] = set()
        self.told: set[str] = set()
        """Delta: names said to be gone, and not sent since."""
        self.deniable: set[str] = set()
        """Delta: names that may be said to be gone though the client does not hold them: it just asked (D8, D11)."""
        self.answer_due = False
        """The client asked for something, so that an answer is due even if there is nothing new in it."""
        self.asked = False
        """As `answer_due`, but of just now: this answer need not wait its turn."""
        self.gone: dict[str, float] = {}
        """Held, no longer in the snapshot: since when."""
        self.began = False
        """Everything was asked for since the last response, so that even an empty one is an answer."""
        self.responses = 0
        self.rejected: list[set[str]] = []
        """Names that were rejected together."""
        self.tries: set[str] = set()
        """Rejected for another's sake, maybe: each may be sent again before it changes, but no more than so often."""
        self.tries_left = 0
        self.barred: set[str] = set()
        """Rejected for its own sake: not to be sent before it changes."""
        self.accepted: dict[str, Resource | None] | None = None
        """Of a full set: what the client accepted last as a whole; None when that is not known."""
        self.older: dict[str, Resource] = {}
        """What the history says of what was refused when `accepted` was not known."""
        self.may_repeat = False
        """A full set was rejected for the sake of some, so that it may be sent without them."""
        self.unsure: set[str] = set()
        """In rejected full sets since the last that was accepted: each next one may be where the client takes them."""
        self._claims: dict[str, str] = {}
        self._unsettled: frozenset[str] = frozenset()
        self._sent: dict[str, Sent] = {}
        self._latest = ""
        """The nonce that was sent last."""

    def is_held(self, snapshot: Snapshot) -> bool:
        """Whether the client holds something, and may not be told that there is nothing because nothing was ever written."""
        return snapshot.is_unwritten and bool(self.held or (self.claimed and not self.responses))

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    # Requests

    def take(self, request: Any, unsettled: frozenset[str] = frozenset()) -> None:
        """Note what a request asks for. `unsettled`: what the client may hold besides what it says."""
        first, self.requested = not self.requested, True
        if first:
            self._unsettled = unsettled
        if self.delta:
            self._take_delta(request, first)
        else:
            self._take_sotw(request, first)

    def _take_sotw(self, request: Any, first: bool) -> None:
        names = set(request.resource_names)
        self.named |= bool(names)
        if first:
            self.claimed = request.version_info
            self.accepted = None if self.claimed else {}
        wildcard = "*" in names or (not self.named and self.type_url in WHOLE_TYPES)
        names.discard("*")
        # While an answer is under way it is a request that crossed it (S32).
        again = not request.response_nonce and self.responses > 0 and self._latest not in self._sent
        if again:  # it holds nothing any more
            self.held.clear()
            self.gone.clear()
            self.accepted = {}
        began = wildcard and not self.wildcard
        added = names if again else names - self.names
        self.wildcard, self.names = wildcard, names
        self._forget_unwanted()
        self._ask(added, everything=began or (again and wildcard))

    def _take_delta(self, request: Any, first: bool) -> None:
        added, dropped = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if first:
            self.held.update(dict.fromkeys(request.initial_resource_versions))
            self._claims = dict(request.initial_resource_versions)
        legacy = first and not added and not dropped and self.type_url in WHOLE_TYPES
        began = (legacy and not self.wildcard) or "*" in added
        self.wildcard |= began
        added.discard("*")
        self.names |= added
        self.deniable |= added
        if "*" in dropped:
            self.wildcard = False
        dropped.discard("*")
        self.names -= dropped
        self._forget_unwanted()
        if self.wildcard and dropped:
            self.deniable |= dropped
            added |= dropped
        self._ask({name for name in added if self.wants(name)}, everything=began)
        self._forget_unwanted()  # everything may have been asked for and dropped in one request

    def _ask(self, names: set[str], *, everything: bool) -> None:
        self.due |= names
        self.barred -= names
        if everything and self.seen is not None:
            self.due |= set(self.seen.names(self.type_url))
            self.barred.clear()
        self.began |= everything
        if names or everything:
            self.answer_due = self.asked = True

    def _forget_unwanted(self) -> None:
        if not self.wildcard:
            self.held = {name: held for name, held in self.held.items() if name in self.names}
            self.gone = {name: since for name, since in self.gone.items() if name in self.names}
            self.due &= self.names
            self.tries &= self.names
            self.barred &= self.names

    def answered(self, nonce: str, words: str | None, *, is_left_over: bool) -> None:
        """Note an ACK, or a NACK with its words. `is_left_over`: these are about an earlier response."""
        sent = self._sent.pop(nonce, None)
        if sent is None:
            return
        if words is None:
            self.unsure = set()
            self.accepted = sent.resources if self.full_set else None
            self.barred.difference_update(() if self.full_set else sent.resources)
            return
        if is_left_over:
            self.unsure |= set(sent.resources) if self.full_set else set()
            return
        culprits = set(likely_culprits(words, tuple(sorted(sent.resources))))
        self.deniable.update(sent.removed)
        self.may_repeat |= bool(culprits or sent.removed)
        blamed = culprits or (set(sent.resources) if len(sent.resources) == 1 and not self.full_set else set())
        newest = {name for name in blamed if self.seen and self.seen.get(self.type_url, name) == sent.resources[name]}
        # What was sent since has an answer of its own to come.
        later = {name for other in self._sent.values() for name in other.resources}
        self.barred |= newest if self.full_set else newest - self.due - later
        if self.full_set:
            self.unsure = self.unsure | set(sent.resources)
            return
        others = set(sent.resources) - self.barred
        if others and not sent.is_try:
            self.tries_left = MOST_TRIES
        if not culprits and len(others) > 1:
            self.rejected.append(others)
        self.tries |= others

    # Content

    def follow(self, group: Group, now: float) -> None:
        """Take in what changed in the snapshot since the last time."""
        snapshot = group.snapshot
        assert snapshot is not None
        if self.seen is snapshot or self.is_held(snapshot):
            return
        if self.seen is None:
            self._begin(group, snapshot, now)
        else:
            difference = group.difference(self.type_url, self.seen, snapshot)
            self._changed(name for name in difference.changed if self.wants(name))
            for name in difference.removed:
                self._gone(name, now)
        self.seen = snapshot

    def _begin(self, group: Group, snapshot: Snapshot, now: float) -> None:
        past = group.past(self.type_url, self.claimed) if self.claimed and self.full_set and self.wildcard else None
        if past is not None:
            self.held = {name: past.get(self.type_url, name) for name in past.names(self.type_url)}
            self.accepted = dict(self.held)
            self.due = set(group.difference(self.type_url, past, snapshot).changed) | (self._unsettled - {"*"})
            self.answer_due = bool(self._unsettled)
        elif self.wildcard:
            for name in snapshot.names(self.type_url):
                resource = snapshot.get(self.type_url, name)
                if resource is not None and (
                    {name, "*"} & self._unsettled or self._claims.get(name) != resource.version
                ):
                    self.due.add(name)
        self.due |= self.names
        for name in self.held:
            if snapshot.get(self.type_url, name) is None:
                self.gone[name] = now

    def _changed(self, names: Any) -> None:
        for name in names:
            self.due.add(name)
            self.gone.pop(name, None)
            self._release(name)

    def _gone(self, name: str, now: float) -> None:
        self.due.discard(name)
        self._release(name)
        if name in self.held:
            self.gone.setdefault(name, now)

    def refer(self, name: str) -> None:
        """A resource that refers to `name` was sent: the client may need it again (S57)."""
        if self.wants(name):
            self.due.add(name)
            self._release(name)

    def _release(self, name: str) -> None:
        """What was rejected together with `name` may be tried once more."""
        self.barred.discard(name)
        for together in [names for names in self.rejected if name in names]:
            self.rejected.remove(together)
            self.tries |= together - self.barred
            self.tries_left = MOST_TRIES

    # Responses

    def sent(self, message: Message, resources: dict[str, Resource | None]) -> None:
        """Note a response; `resources`: what it holds, as the snapshot has it."""
        names = tuple(resources)
        is_try = bool(names) and not self.due.intersection(names)
        self.tries_left -= is_try and not self.full_set
        self._sent[message.nonce] = Sent(resources, message.removed, is_try)
        overtaken = self._sent.pop(self._latest, None) if not self.delta else None
        self._latest = message.nonce
        while len(self._sent) > 64:
            del self._sent[next(iter(self._sent))]
        if self.full_set:
            self.held = dict(resources)
            self.gone = {name: since for name, since in self.gone.items() if name in resources}
            self.due.clear()
        else:
            self.held.update(resources)
            self.due.difference_update(names)
        for name in message.removed:
            self.held.pop(name, None)
            self.gone.pop(name, None)
        self.due.difference_update(message.removed)
        self.told.difference_update(names)
        self.told.update(message.removed)
        self.deniable.difference_update(names, message.removed)
        self.tries.difference_update(names)
        if overtaken is not None and overtaken.is_try:  # what comes of it is not known now
            self.tries |= set(overtaken.resources) - set(names)
        self.may_repeat = False
        self.answer_due = self.asked = self.began = False
        self.responses += 1
