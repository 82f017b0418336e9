"""What one stream asked for of one type, what its client holds, and what it is still owed.

The rules that both protocol variants share live here: following the snapshot, and keeping back what was rejected. How a request
is read and a response is written never does: that is `sotw` and `delta`. No I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import NamedTuple

from xds_server.xds.group import Group
from xds_server.xds.ordering import answer_wait
from xds_server.xds.quarantine import Quarantine
from xds_server.xds.rejection import likely_culprits
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.unanswered import Response, Unanswered


class Answer(NamedTuple):
    """A client's ACK (no `detail`) or NACK of a response."""

    response: Response
    detail: str | None
    culprits: tuple[str, ...] = ()
    """What a NACK's words name."""


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
        self.leaves_errors = False
        """An error beside the version that was sent is left over from an earlier response (S19), as it is with Envoy."""
        self.unsettled: Callable[[], frozenset[str]] = frozenset
        """Names that the client may hold from earlier streams without saying so (D20)."""
        self.wildcard = False
        self.names: Set[str] = set()
        """Maybe shared with other streams: see `own_names`."""
        self.cursor: Snapshot | None = None
        """The snapshot that `owed` and `gone` lead to; None before the first answer."""
        self.resumed = False
        """The client came back with all that there is to say, of which nobody was told yet."""
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
        self.quarantine = Quarantine()
        self._adding = False
        self._repeat = False
        """A response was rejected for what it held: what it took away is said again at once."""

    @property
    @abstractmethod
    def claims(self) -> bool:
        """Whether the client said with its first request that it holds something."""

    def is_held(self, snapshot: Snapshot) -> bool:
        """Whether nothing of `snapshot` may be said: it was never written, and the client holds something all the same."""
        if not snapshot.is_unwritten:
            return False
        return self.claims if self.cursor is None else self.cursor.count(self.type_url) > 0

    def own_names(self) -> set[str]:
        """`names`, to be changed in place."""
        if not isinstance(self.names, set):
            self.names = set(self.names)
        return self.names

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
            self.resumed = bool(held) and not (self.must_make or self.gone)
        else:
            difference = group.difference(self.type_url, self.cursor, snapshot)
            for name in difference.changed:
                if self.wants(name):
                    lacks = self._may_lack(name)
                    if name in self.refused_removals or (lacks and not self._lacks(name)):
                        self.refused_removals.discard(name)
                        self.doubtful.add(name)
                    is_held = name in self.gone and name not in self.doubtful
                    if lacks or (self.cursor.get(self.type_url, name) is None and not is_held):
                        self.new.add(name)
                    self.owe(name)
            for name in difference.removed:
                self._withdraw(name)
        self.cursor = snapshot

    def owe(self, name: str) -> None:
        """Send `name` with the next response, refused before or not."""
        self.owed.add(name)
        self.gone.pop(name, None)
        if not self.gone:
            self.gone_since = None  # what goes next has its own time
        self._moved(name)

    def _owe_anew(self, names: Set[str]) -> None:
        """The client asks for these."""
        self.owed |= names
        self.urgent = True
        for name in names:
            self._moved(name)

    def _moved(self, name: str) -> None:
        """`name` is sent anew, or gone: what was known of its rejection counts no more."""
        self.quarantine.moved(name)

    def forget_unwanted(self) -> None:
        """The subscription became smaller: nothing of what left it is sent, taken away or tried again."""
        self.owed = {name for name in self.owed if self.wants(name)}
        self.asked &= self.owed
        self.new &= self.owed
        self.gone = {name: held for name, held in self.gone.items() if self.wants(name)}
        for names in (self.refused_removals, self.rejected, self.doubtful):
            names.intersection_update([name for name in names if self.wants(name)])
        self.quarantine.keep(self.wants)
        self.urgent = self.urgent and self.must_make

    def _withdraw(self, name: str) -> None:
        held = self.content(name)
        self._moved(name)
        if name in self.asked:
            return  # answered as what does not exist
        self.owed.discard(name)
        if name in self.new:
            self.new.discard(name)
            if name not in self.doubtful:
                return  # it came and went unsent
        if held is not None and self.wants(name):
            self.gone[name] = held

    def _may_lack(self, name: str) -> bool:
        """Whether the client may hold no version of `name`, though it was sent one."""
        return name in self.quarantine.refused

    def _lacks(self, name: str) -> bool:
        """Whether that is certain."""
        return False

    def content(self, name: str) -> Resource | None:
        """What the client may hold of `name`."""
        return self.cursor.get(self.type_url, name) if self.cursor is not None else None

    def touched_by(self, names: frozenset[str]) -> bool:
        """Whether a change of `names` concerns this watch."""
        return bool(names) and (self.wildcard or not self.names.isdisjoint(names))

    @property
    def must_make(self) -> bool:
        """Whether there is something to send now."""
        return bool(self.owed or self.must_answer or self.quarantine.due or self._repeat)

    def lacks(self, names: frozenset[str] | None) -> bool:
        """Whether the client is yet to be told something of `names` (None: of anything) that it was not sent."""
        if names is None or self.must_answer:
            return self.must_make or bool(self.gone)
        return not (self.owed.isdisjoint(names) and self.gone.keys().isdisjoint(names))

    def take(self, nonce: str) -> set[str]:
        """The names for the response `nonce`: what is owed, else what is tried again of what was rejected."""
        self._repeat = False
        if self.owed or self.must_answer:
            names, self.owed, self.must_answer = self.owed, set(), False
            self._adding |= not self.new.isdisjoint(names)
            self.asked.clear()
            self.new.clear()
            self.doubtful -= names
            return names
        return self.quarantine.take(nonce) if self.quarantine.due else set()

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

    def holds_whole(self, group: Group, response: Response) -> bool:
        """Whether a response that was just made is known to hold what `group.whole` says, and nothing in its place."""
        return group.is_all(self.type_url, response.names)

    # Answers

    def paced_until(self) -> float:
        """The time before which no further response should be sent; 0 for now."""
        return 0.0 if self.urgent else self.unanswered.paced_until()

    def sent(self, response: Response, now: float) -> None:
        """Note that `response` was handed to the transport."""
        self.unanswered.sent(response, now, adds=self._adding)
        self._adding = self.urgent = False
        self.quarantine.lost(self.unanswered.__contains__)

    def _still_gone(self, name: str) -> bool:
        """Whether a removal is to be said again: `name` was not sent since, nor is it about to be taken away anyway."""
        is_there = self.cursor is not None and self.cursor.get(self.type_url, name) is not None
        return self.wants(name) and not is_there and name not in self.gone

    def answer(self, nonce: str, detail: str | None, version: str = "") -> Answer | None:
        """Match an ACK or NACK to its response; None for a nonce that is not waited for.

        `version`: what the client says that it holds now. What was refused is not sent again before it changes (S20, D30);
        what was rejected beside it is, as the client may have applied nothing of the response.
        """
        response = self.unanswered.answered(nonce)
        if response is None:
            return None
        if detail is None:
            self._accepted(response)
            return Answer(response, None)
        culprits = likely_culprits(detail, self._suspects(response))
        is_left_over = self.leaves_errors and version == response.version
        self._rejected(response, detail, culprits, is_left_over=is_left_over)
        return Answer(response, detail, culprits)

    def sought(self) -> list[Resource]:
        """Refused resources, each once, of which the version before would help, as it is not known what the client holds."""
        return []

    def found(self, refused: Resource, older: Resource) -> bool:
        """What one of `sought` was before: returns whether it is still of use."""
        return False

    def _suspects(self, response: Response) -> tuple[str, ...]:
        """What the client may refuse of a response."""
        return response.names

    def _accepted(self, response: Response) -> None:
        if not self.quarantine.is_idle:
            self.quarantine.accepted(response.nonce, self._unchanged(response))

    def _rejected(self, response: Response, detail: str, culprits: tuple[str, ...], *, is_left_over: bool) -> None:
        self.refused_removals.update(name for name in response.removed if self._still_gone(name))
        if is_left_over:
            self._accepted(response)
        elif response.names:
            names = self._unchanged(response)
            whole = len(names) == len(response.names)
            self.quarantine.rejected(response.nonce, names, set(culprits), detail, whole=whole)
            self._repeat = bool(self.refused_removals)

    def _unchanged(self, response: Response) -> set[str]:
        """The names in a response that are wanted, and of which nothing else is to be sent, nor was sent since."""
        later = self.owed | self.unanswered.names()
        return {
            name
            for name, version in zip(response.names, response.versions, strict=True)
            if name not in later and self.wants(name) and (held := self.content(name)) and held.version == version
        }
