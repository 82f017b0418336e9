"""Changes that a stream's client has not answered for yet. No I/O: what is sent and answered goes in, outcomes come out.

A change is acknowledged once, for each type that it concerns on the stream, a response was that holds the last of it, made from
its snapshot or a newer one. So a client that is told of ten changes at once answers for all of them at once, and one whose
resources change faster than it answers is never waited for in vain.

One thing is not told: a change back to what the client rejected, before it was sent anything else, is not sent again (S20, D30)
and so not rejected again.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Literal

from xds_server.xds.node import Node
from xds_server.xds.resource import CLUSTER, LISTENER
from xds_server.xds.snapshot import Touched
from xds_server.xds.unanswered import Response
from xds_server.xds.watch import Watch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one change on one stream."""

    kind: Literal["acknowledged", "rejected", "left", "unchanged"]
    """left: the stream ended before. unchanged: there was nothing to send after all, as when what came is gone again."""
    stream: int
    node: Node
    warm: bool = False
    """acknowledged: the client's clusters are known to be warm. Only Envoys on an aggregated stream let us know, and only those
    that take their listeners from it: an Envoy answers for clusters once they are warm, except before it has initialised, and
    asks for listeners only after that (S25, S64)."""
    type_url: str = ""
    """rejected: of the response, as `version`."""
    version: str = ""
    detail: str = ""
    """rejected: the client's words."""
    culprits: tuple[str, ...] = ()
    """rejected: the resources that these name, or that were found out to be refused; empty when none can be told."""


Tell = Callable[[Outcome], None]
_ANY: Final = None
"""In place of names: all there are."""


@dataclass(slots=True)
class _Open:
    """A type that a change is not answered for."""

    last: int = 0
    """Number of the last response that holds some of the change and was not answered; 0 for none."""
    is_complete: bool = False
    """All of the change was sent."""
    refused: set[str] = field(default_factory=set)
    """Names of the change that came in a rejected response, and were not sent again since."""
    version: str = ""
    """Of that response."""


class Awaited:
    """One change."""

    __slots__ = ("_after", "_first", "_open", "_touched", "answered", "tell")

    def __init__(self, touched: Touched | None, watches: Iterable[Watch], after: int, tell: Tell) -> None:
        self._touched = touched
        self._after = after
        """Number of the last response before the change."""
        self.tell = tell
        self.answered: set[str] = set()
        """Types of which something was acknowledged."""
        self._open: dict[str, _Open] = {}
        self._first: set[str] = set()
        """Types of which the client was told nothing before, so that anything is news."""
        for watch in watches:
            if touched is _ANY or watch.cursor is None:
                self._first.add(watch.type_url)
            elif not watch.touched_by(touched.get(watch.type_url, frozenset())):
                continue
            self._open[watch.type_url] = _Open()

    @property
    def types(self) -> tuple[str, ...]:
        """What is not answered for yet."""
        return tuple(self._open)

    def _names(self, type_url: str) -> frozenset[str] | None:
        return _ANY if self._touched is None or type_url in self._first else self._touched.get(type_url, frozenset())

    def asked(self, type_url: str, names: Set[str]) -> None:
        """The client asks for more, in consequence of this change maybe: for the endpoints of a cluster that is new."""
        touched = self._names(type_url)
        if touched is _ANY or not touched.isdisjoint(names) or (touched and "*" in names):
            self._open.setdefault(type_url, _Open()).is_complete = False

    def sent(self, watch: Watch, response: Response) -> None:
        """A response was sent."""
        here = self._open.get(watch.type_url)
        if here is None or here.is_complete:
            return  # what comes after all of it, and may be answered instead
        names = self._names(watch.type_url)
        here.refused.difference_update(response.names)
        here.is_complete = not (here.refused or watch.lacks(names))
        if here.is_complete or names is _ANY or not names.isdisjoint((*response.names, *response.removed)):
            here.last = int(response.nonce)

    def accepted(self, response: Response) -> None:
        """A response was acknowledged, and so what was sent before it."""
        here = self._open.get(response.type_url)
        if here is None or not 0 < here.last <= int(response.nonce):
            return
        self.answered.add(response.type_url)
        here.last = 0
        if here.is_complete:
            del self._open[response.type_url]

    def rejected(self, response: Response, blamed: Set[str]) -> bool:
        """A response was rejected for the sake of `blamed`: returns whether that rejects this change.

        Where others are to blame, or it is yet to be found out who is, it does not. What came with them has to be sent once
        more, and may yet be accepted.
        """
        if int(response.nonce) <= self._after:
            return False
        here, names = self._open.get(response.type_url), self._names(response.type_url)
        if blamed and (names is _ANY or not names.isdisjoint(blamed)):
            return True
        if here is None:
            return False
        here.refused |= set(response.names) if names is _ANY else names.intersection(response.names)
        here.version = response.version
        here.is_complete = here.is_complete and not here.refused
        # One without names takes something away.
        return not (response.names or response.removed) and 0 < here.last <= int(response.nonce)

    def kept_back(self, type_url: str, names: Set[str]) -> str | None:
        """Of what was refused with others, `names` are to blame: the version that had them where they are of this change."""
        here = self._open.get(type_url)
        return here.version if here is not None and not here.refused.isdisjoint(names) else None

    def nothing_more(self, watches: Mapping[str, Watch]) -> None:
        """All that there is to say now was said: what was not sent by now needs not be."""
        for type_url, here in list(self._open.items()):
            if here.is_complete:
                continue
            if (watch := watches.get(type_url)) is not None:
                here.refused = {name for name in here.refused if watch.offers(name)}
                if here.refused or watch.lacks(self._names(type_url)):
                    continue
            here.is_complete = True
            if here.last == 0:
                del self._open[type_url]


class Awaiting:
    """All changes that one stream's client has not answered for. Costs nothing while there are none."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._changes: dict[Awaited, None] = {}
        self._latest = "0"
        """Nonce of the last response. Nonces are numbers."""

    def expect(self, touched: Touched | None, watches: Mapping[str, Watch], tell: Tell) -> Awaited | None:
        """Have `tell` called once it is known what came of a change; None when that does not concern the stream.

        `touched`: names by type that the change added, replaced or removed; None for any.
        """
        change = Awaited(touched, watches.values(), int(self._latest), tell)
        if not change.types:
            return None
        self._changes[change] = None
        return change

    def forget(self, change: Awaited) -> None:
        """Do not wait for it any more."""
        self._changes.pop(change, None)

    def asked(self, type_url: str, names: Iterable[str]) -> None:
        """The client asks for names that it was not subscribed to."""
        names = frozenset(names) if self._changes else frozenset()
        for change in self._changes:
            change.asked(type_url, names)

    def sent(self, watch: Watch, response: Response) -> None:
        """A response was sent."""
        self._latest = response.nonce
        for change in self._changes:
            change.sent(watch, response)

    def accepted(self, response: Response, node: Node, watches: Mapping[str, Watch]) -> None:
        """A response was acknowledged."""
        for change in self._changes:
            change.accepted(response)
        self._tell_settled(node, watches)

    def rejected(
        self, response: Response, node: Node, detail: str, culprits: tuple[str, ...], blamed: Iterable[str]
    ) -> None:
        """A response was rejected. `blamed`: for the sake of these; none while that is looked into."""
        names = frozenset(blamed)
        for change in [change for change in self._changes if change.rejected(response, names)]:
            self._reject(change, node, response.type_url, response.version, detail, culprits)

    def kept_back(self, node: Node, type_url: str, names: tuple[str, ...], detail: str) -> None:
        """It was found out that the client refuses `names`."""
        found = [(change, change.kept_back(type_url, frozenset(names))) for change in self._changes]
        for change, version in found:
            if version is not None:
                self._reject(change, node, type_url, version, detail, names)

    def _reject(
        self, change: Awaited, node: Node, type_url: str, version: str, detail: str, culprits: tuple[str, ...]
    ) -> None:
        del self._changes[change]
        change.tell(
            Outcome(
                "rejected",
                self._stream,
                node,
                type_url=type_url,
                version=version,
                detail=detail,
                culprits=culprits,
            )
        )

    def nothing_more(self, node: Node | None, watches: Mapping[str, Watch]) -> None:
        """All that there is to say now was said."""
        if self._changes and node is not None:
            for change in self._changes:
                change.nothing_more(watches)
            self._tell_settled(node, watches)

    def left(self, node: Node | None) -> None:
        """The stream ended."""
        changes, self._changes = self._changes, {}
        for change in changes:
            if node is not None:
                change.tell(Outcome("left", self._stream, node))

    def _tell_settled(self, node: Node, watches: Mapping[str, Watch]) -> None:
        for change in [change for change in self._changes if not change.types]:
            del self._changes[change]
            if change.answered:
                warm = _are_warm(node, watches, answered=CLUSTER in change.answered)
                change.tell(Outcome("acknowledged", self._stream, node, warm))
            else:
                change.tell(Outcome("unchanged", self._stream, node))


def _are_warm(node: Node, watches: Mapping[str, Watch], *, answered: bool) -> bool:
    """Whether the client's clusters are known to be warm; `answered`: those that this is about were acknowledged.

    An answer that came before the question for listeners was given while the client initialised, which it has since, as it
    asks for these; one that came later is given when the clusters are warm.
    """
    if not node.is_envoy or node.service != "aggregated":
        return False
    clusters, listeners = watches.get(CLUSTER), watches.get(LISTENER)
    if clusters is None or listeners is None or not (clusters.requested and listeners.requested):
        return False
    return answered or not clusters.unanswered
