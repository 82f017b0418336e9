"""What one stream asked for of one type, what its client holds, and what it is still owed.

The rules that both protocol variants share live here: following the snapshot, and parking what was rejected. How a request
is read and a response is written never does: that is `sotw` and `delta`. No I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import NamedTuple

from xds_server.xds.group import Group
from xds_server.xds.ordering import answer_wait
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.unanswered import Response, Unanswered


class Answer(NamedTuple):
    """A client's ACK (no `detail`) or NACK of a response."""

    response: Response
    detail: str | None


class Watch(ABC):
    """One type on one stream. After `follow`, `owed` and `gone` say what the client lacks of the current snapshot."""

    def __init__(self, type_url: str, *, window: int, remembered: int) -> None:
        self.type_url = type_url
        self.requested = False
        """The client has asked for this type."""
        self.trailer = b""
        """What every response ends with."""
        self.message_bytes: int | None = None
        """The longest message that the client takes; None for any."""
        self.unsettled: Callable[[], frozenset[str]] = frozenset
        """Names that the client may hold from earlier streams without saying so (D20)."""
        self.wildcard = False
        self.names: set[str] = set()
        self.cursor: Snapshot | None = None
        """The snapshot that `owed` and `gone` lead to; None before the first answer."""
        self.owed: set[str] = set()
        """Names to send (or, where they do not exist, to deny)."""
        self.must_answer = False
        """The client waits for an answer, even one that holds nothing (S15, D32)."""
        self.gone: dict[str, Resource] = {}
        """Held by the client, removed since: taken away last (make before break)."""
        self.gone_since: float | None = None
        """When the oldest of `gone` was first seen, so that it is not put off for ever."""
        self.inherited = False
        """`gone` holds what only the client knew of, from an earlier stream: who uses it is not known yet."""
        self.urgent = False
        """The client asks for something: waiting for acknowledgements would only delay it."""
        self.unanswered = Unanswered(window, remembered, answer_wait(type_url))
        self.refused_removals: set[str] = set()
        """Removals in rejected responses: the client may still hold these, so the next response says it again (D20)."""
        self.rejected: set[str] = set()
        """Of a full set: what was new in the responses since the last that was accepted, and so may become new with any."""
        self.asked: set[str] = set()
        """Names that the client asked for and was not answered yet."""
        self.doubtful: set[str] = set()
        """Names that the client may hold or not, of which nothing was said yet on this stream."""
        self.new: set[str] = set()
        """Of `owed`, what the client does not hold in any version, as far as is known."""
        self._adding = False
        self._parked: list[set[str]] = []
        self._second_try: set[str] = set()
        self._second_tries: set[str] = set()

    @property
    @abstractmethod
    def claims(self) -> bool:
        """Whether the client said with its first request that it holds something."""

    def is_held(self, snapshot: Snapshot) -> bool:
        """Whether nothing of `snapshot` may be said: it was never written, and the client holds something all the same."""
        if not snapshot.is_unwritten:
            return False
        return self.claims if self.cursor is None else self.cursor.count(self.type_url) > 0

    # What to send

    def wants(self, name: str) -> bool:
        """Whether the client subscribed to `name`."""
        return self.wildcard or name in self.names

    def offers(self, name: str) -> bool:
        """Whether the client subscribed to `name`, and there is one."""
        return self.wants(name) and self.cursor is not None and self.cursor.get(self.type_url, name) is not None

    def follow(self, group: Group) -> None:
        """Bring `owed` and `gone` up to the group's current snapshot."""
        snapshot = group.snapshot
        if snapshot is None or snapshot is self.cursor or self.is_held(snapshot):
            return
        if self.cursor is None:
            held = self._begin(group, snapshot)
            self.new = self.owed - held
            # One that came back goes on with what it holds: it can wait for its turn.
            self.urgent = self.must_make and not held
        else:
            difference = group.difference(self.type_url, self.cursor, snapshot)
            for name in difference.changed:
                if self.wants(name):
                    if name in self.refused_removals:
                        self.refused_removals.discard(name)
                        self.doubtful.add(name)
                    is_held = name in self.gone and name not in self.doubtful
                    if self.cursor.get(self.type_url, name) is None and not is_held:
                        self.new.add(name)
                    self.owe(name)
            for name in difference.removed:
                self._withdraw(name)
        self.cursor = snapshot

    def owe(self, name: str) -> None:
        """Send `name` with the next response.

        What was rejected together with it gets a second try, once and in a response of its own: the client may have
        refused it for its neighbour's sake, or the neighbour for its sake.
        """
        self.owed.add(name)
        self.gone.pop(name, None)
        if not self.gone:
            self.gone_since = None  # what goes next has its own time
        self._try_neighbours_again(name)

    def _try_neighbours_again(self, name: str) -> None:
        for parked in [names for names in self._parked if name in names]:
            self._parked.remove(parked)
            self._second_try |= parked
        self._second_try.discard(name)

    def forget_unwanted(self) -> None:
        """The subscription became smaller: nothing of what left it is sent, taken away or tried again."""
        self.owed = {name for name in self.owed if self.wants(name)}
        self.asked &= self.owed
        self.new &= self.owed
        self.gone = {name: held for name, held in self.gone.items() if self.wants(name)}
        for names in (self.refused_removals, self.rejected, self.doubtful, self._second_try, *self._parked):
            names.intersection_update([name for name in names if self.wants(name)])
        self._parked = [names for names in self._parked if names]
        self.urgent = self.urgent and self.must_make

    def _withdraw(self, name: str) -> None:
        self._try_neighbours_again(name)
        if name in self.asked:
            return  # answered as what does not exist
        self.owed.discard(name)
        if name in self.new:
            self.new.discard(name)
            if name not in self.doubtful:
                return  # it came and went unsent
        held = self.cursor.get(self.type_url, name) if self.cursor is not None else None
        if held is not None and self.wants(name):
            self.gone[name] = held

    def touched_by(self, names: frozenset[str]) -> bool:
        """Whether a change of `names` concerns this watch."""
        return bool(names) and (self.wildcard or not self.names.isdisjoint(names))

    @property
    def must_make(self) -> bool:
        """Whether there is something to send now."""
        return bool(self.owed or self.must_answer or self._second_try)

    def lacks(self, names: frozenset[str] | None) -> bool:
        """Whether the client is yet to be told something of `names` (None: of anything) that it was not sent."""
        if names is None or self.must_answer:
            return self.must_make or bool(self.gone)
        return not (self.owed.isdisjoint(names) and self.gone.keys().isdisjoint(names))

    def take(self, snapshot: Snapshot, nonce: str) -> set[str]:
        """The names for the response `nonce`: what is owed, else what gets its second try."""
        if self.owed or self.must_answer:
            names, self.owed, self.must_answer = self.owed, set(), False
            self._adding |= not self.new.isdisjoint(names)
            self.asked.clear()
            self.new.clear()
            self.doubtful -= names
            return names
        tries, self._second_try = self._second_try, set()
        names = {name for name in tries if self.wants(name) and snapshot.get(self.type_url, name) is not None}
        if names:
            self._second_tries.add(nonce)
        return names

    def take_gone(self) -> set[str]:
        """The names of all that is gone, which the client is told now."""
        names = set(self.gone)
        self.doubtful -= names
        self.gone.clear()
        self.gone_since = None
        self.inherited = False
        return names

    def rescue(self, wait: float) -> None:
        """Send everything, though the client has not asked (S71); then no more for `wait` seconds, unless it answers."""
        self.wildcard = self.must_answer = True
        self.unanswered.slow_down(wait)

    def begin_request(self) -> None:
        """The client asks for this type for the first time, maybe after it was sent unasked."""
        self.requested = True
        self.unanswered.resume_pace()

    @abstractmethod
    def _begin(self, group: Group, snapshot: Snapshot) -> Set[str]:
        """The first look at a snapshot: fill `owed` and `gone` from what the client said that it holds; returns that."""

    @abstractmethod
    def make(self, group: Group, nonce: str, *, final: bool) -> Response | None:
        """The response with everything added or changed, if that is anything. `final`: with all that is gone, too."""

    @abstractmethod
    def retire(self, group: Group, nonce: str) -> Response:
        """The response that takes away what is gone."""

    # Answers

    @property
    def parks(self) -> bool:
        """Whether a rejected response's resources have to be sent again to be had."""
        return True

    def paced_until(self) -> float:
        """The time before which no further response should be sent; 0 for now."""
        return 0.0 if self.urgent else self.unanswered.paced_until()

    def sent(self, response: Response, now: float) -> None:
        """Note that `response` was handed to the transport."""
        self.unanswered.sent(response, now, adds=self._adding)
        self._adding = self.urgent = False

    def _still_gone(self, name: str) -> bool:
        """Whether a removal is to be said again: `name` was not sent since, nor is it about to be taken away anyway."""
        is_there = self.cursor is not None and self.cursor.get(self.type_url, name) is not None
        return self.wants(name) and not is_there and name not in self.gone

    def answer(self, nonce: str, detail: str | None) -> Answer | None:
        """Match an ACK or NACK to its response; None for a nonce that is not waited for.

        Nothing of a rejected response is sent again before some of it changes (S20, D30).
        """
        response = self.unanswered.answered(nonce)
        if response is None:
            return None
        tried_twice = nonce in self._second_tries
        self._second_tries.discard(nonce)
        if not self.parks:
            self.rejected = self.rejected | set(response.names) if detail is not None else set()
        elif detail is not None:
            self.refused_removals.update(name for name in response.removed if self._still_gone(name))
            # What was sent again since, or is about to be, has an answer of its own to come.
            later = self.owed | self.unanswered.names()
            parked = {name for name in response.names if self.wants(name) and name not in later}
            if not tried_twice and len(response.names) > 1 and parked:
                self._parked.append(parked)
        return Answer(response, detail)
