"""Who is connected, who was, and what each was sent and answered: kept from events, which come in order. No I/O."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from xds_server.fleet.plain import kind, utc
from xds_server.fleet.status import NodeStatus, Quarantined, Rejection, Status, StreamStatus, TypeStatus
from xds_server.xds import Event, Node
from xds_server.xds.ordering import FULL_SETS

MOST_DEPARTED: Final = 10_000
"""Nodes that left and are remembered."""
REMEMBERED: Final = 3600.0
"""Seconds for which they are."""
_MOST_QUARANTINED: Final = 100
"""Resources of one type that a client refuses and that are told."""
_UNDER_WAY: Final = 64
"""Responses of one type on one stream whose answers are waited for, as many as the protocol's own memory has."""
_OF_TYPES: Final = frozenset({"subscribed", "resumed", "sent", "acknowledged", "rejected", "quarantined", "released"})
"""Events that are about one type."""
_WORST_FIRST: Final[tuple[Status, ...]] = ("NACKED", "STALE", "NOT SENT", "SYNCED")


@dataclass(slots=True)
class _Type:
    """One type on one stream."""

    type_url: str
    sent: str = ""
    acknowledged: str = ""
    sent_at: float | None = None
    acknowledged_at: float | None = None
    took: float | None = None
    rejection: Rejection | None = None
    refused: set[str] = field(default_factory=set)
    """What the rejection is about, and was not acknowledged since."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """What is kept back, by name, with the client's words."""
    under_way: dict[str, float] = field(default_factory=dict)
    """When responses were sent that are not answered, by nonce."""

    @property
    def status(self) -> Status:
        if self.rejection is not None or self.quarantined:
            return "NACKED"
        if self.sent_at is None and not self.acknowledged:
            return "NOT SENT"
        return "STALE" if self.under_way else "SYNCED"

    @property
    def rank(self) -> tuple[int, float]:
        """Worst first, then the newest."""
        return _WORST_FIRST.index(self.status), -(self.sent_at or 0.0)

    def note_sent(self, event: Event, now: float) -> None:
        self.sent, self.sent_at = event.version, now
        self.under_way[event.nonce] = now
        if len(self.under_way) > _UNDER_WAY:
            del self.under_way[next(iter(self.under_way))]

    def note_answer(self, event: Event, now: float, *, sotw: bool) -> float:
        """An ACK or NACK; returns how long it took, in seconds."""
        since = self.under_way.pop(event.nonce, now)
        if sotw:
            self.under_way.clear()  # the answer is to the latest response, and so to all before it
        took = max(0.0, now - since)
        is_left_over = event.applied and event.node is not None and event.node.is_envoy  # of an earlier response (S19)
        if event.kind == "rejected" and not is_left_over:
            at = utc(now)
            assert at is not None
            self.rejection = Rejection(event.version, event.detail, event.culprits, at)
            self.refused |= set(event.culprits or event.names or event.removed)
            return took
        self.acknowledged, self.acknowledged_at, self.took = event.version, now, took
        if sotw and self.type_url in FULL_SETS:
            self.refused.clear()
        self.note_settled(event)
        return took

    def note_settled(self, event: Event) -> None:
        """Names were acknowledged, or are no longer asked for."""
        self.refused.difference_update(event.names if event.kind != "subscribed" else (), event.removed)
        self._end_rejection()

    def note_kept_back(self, event: Event) -> None:
        """Names are not sent again before they change, or are no longer kept back."""
        if event.kind == "quarantined":
            self.quarantined |= dict.fromkeys(event.names, event.detail)
            return
        for name in event.names:
            self.quarantined.pop(name, None)
        self._end_rejection()

    def _end_rejection(self) -> None:
        if not (self.refused or self.quarantined):
            self.rejection = None

    def tell(self) -> TypeStatus:
        return TypeStatus(
            type=kind(self.type_url),
            type_url=self.type_url,
            status=self.status,
            version_sent=self.sent,
            version_acknowledged=self.acknowledged,
            sent_at=utc(self.sent_at),
            acknowledged_at=utc(self.acknowledged_at),
            acknowledgement_seconds=self.took,
            rejection=self.rejection,
            quarantined=tuple(Quarantined(*each) for each in sorted(self.quarantined.items())[:_MOST_QUARANTINED]),
        )


@dataclass(slots=True)
class _Stream:
    number: int
    node: Node
    peer: str
    since: float
    types: dict[str, _Type] = field(default_factory=dict)


@dataclass(slots=True)
class _Record:
    """One node."""

    node: Node
    """As its newest stream tells."""
    streams: dict[int, _Stream] = field(default_factory=dict)
    ended: dict[str, _Type] = field(default_factory=dict)
    """Types of the streams that ended since the last one began, for when none is left."""
    left_at: float | None = None

    @property
    def rejects(self) -> bool:
        """Whether anything is rejected on any of its streams."""
        return any(state.status == "NACKED" for stream in self.streams.values() for state in stream.types.values())

    def worst(self) -> dict[str, _Type]:
        """For each type, its state on the stream that is worst off."""
        found: dict[str, _Type] = {} if self.streams else dict(self.ended)
        for stream in self.streams.values():
            _keep_worst(found, stream)
        return found

    def tell(self) -> NodeStatus:
        streams = sorted(self.streams.values(), key=lambda stream: stream.since)
        node = self.node
        return NodeStatus(
            id=node.id,
            connected=bool(streams),
            connected_since=utc(streams[0].since) if streams else None,
            disconnected_at=utc(self.left_at),
            cluster=node.cluster,
            region=node.region,
            zone=node.zone,
            sub_zone=node.sub_zone,
            metadata=node.metadata,
            user_agent=node.user_agent,
            service=node.service,
            variant=node.variant,
            streams=tuple(_tell(stream) for stream in streams),
            types=tuple(state.tell() for _, state in sorted(self.worst().items(), key=lambda item: kind(item[0]))),
        )


def _keep_worst(found: dict[str, _Type], stream: _Stream) -> None:
    for type_url, state in stream.types.items():
        if (other := found.get(type_url)) is None or state.rank < other.rank:
            found[type_url] = state


def _tell(stream: _Stream) -> StreamStatus:
    since = utc(stream.since)
    assert since is not None
    node = stream.node
    return StreamStatus(stream.number, stream.peer, node.service, node.variant, since, tuple(sorted(stream.types)))


class Nodes:
    """All nodes that have a stream, and for a while those that had one."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        most_departed: int = MOST_DEPARTED,
        remembered: float = REMEMBERED,
    ) -> None:
        """`clock`: seconds since 1970."""
        self._clock = clock
        self._most_departed, self._remembered = most_departed, remembered
        self._streams: dict[int, _Stream] = {}
        self._connected: dict[str, _Record] = {}
        self._departed: OrderedDict[str, _Record] = OrderedDict()
        """The one that left first comes first."""

    def note(self, event: Event) -> float | None:
        """Take in an event. Returns how long an answer took, in seconds, when it is one."""
        if event.kind == "opened" and event.node is not None:
            self._open(event, event.node)
        elif (stream := self._streams.get(event.stream)) is not None:
            if event.kind == "closed":
                self._close(stream)
            elif event.kind in _OF_TYPES:
                return self._note(stream, event)
        return None

    def _note(self, stream: _Stream, event: Event) -> float | None:
        state = stream.types.get(event.type_url)
        if state is None:
            state = stream.types[event.type_url] = _Type(event.type_url)
        if event.kind == "sent":
            state.note_sent(event, self._clock())
        elif event.kind == "subscribed":
            state.note_settled(event)
        elif event.kind == "resumed":
            state.acknowledged = event.version
        elif event.kind in ("quarantined", "released"):
            state.note_kept_back(event)
        else:
            return state.note_answer(event, self._clock(), sotw=stream.node.variant == "sotw")
        return None

    def _open(self, event: Event, node: Node) -> None:
        stream = self._streams[event.stream] = _Stream(event.stream, node, event.peer, self._clock())
        self._departed.pop(node.id, None)
        record = self._connected.setdefault(node.id, _Record(node))
        record.node = node
        record.ended.clear()
        record.streams[event.stream] = stream

    def _close(self, stream: _Stream) -> None:
        del self._streams[stream.number]
        record = self._connected[stream.node.id]
        del record.streams[stream.number]
        _keep_worst(record.ended, stream)
        if not record.streams:
            record.left_at = self._clock()
            del self._connected[stream.node.id]
            self._departed[stream.node.id] = record
            self._forget()

    def _forget(self) -> None:
        until = self._clock() - self._remembered
        while self._departed:
            oldest = next(iter(self._departed.values()))
            if len(self._departed) <= self._most_departed and (oldest.left_at or 0.0) >= until:
                return
            self._departed.popitem(last=False)

    # What is known

    def all(self) -> list[NodeStatus]:
        """Every node, sorted by id."""
        self._forget()
        records = [*self._connected.values(), *self._departed.values()]
        return [record.tell() for record in sorted(records, key=lambda record: record.node.id)]

    def get(self, node_id: str) -> NodeStatus | None:
        """One node, or None."""
        self._forget()
        record = self._connected.get(node_id) or self._departed.get(node_id)
        return record.tell() if record is not None else None

    def ids(self) -> list[str]:
        """Of every node."""
        return [*self._connected, *self._departed]

    def rejecting(self) -> list[NodeStatus]:
        """Those that have a stream and reject something. Of the others nothing is made."""
        return [record.tell() for record in self._connected.values() if record.rejects]

    def connected(self) -> Iterator[Node]:
        """Those that have a stream."""
        return (record.node for record in self._connected.values())

    def variants(self) -> Iterator[tuple[str, int]]:
        """For each of them, each way by which it asks (``aggregated-delta``), and by how many streams."""
        for record in self._connected.values():
            ways: dict[str, int] = {}
            for stream in record.streams.values():
                way = f"{stream.node.service}-{stream.node.variant}"
                ways[way] = ways.get(way, 0) + 1
            yield from ways.items()

    def statuses(self) -> Iterator[tuple[str, Status]]:
        """For each of them, each type URL, and its status."""
        for record in self._connected.values():
            for type_url, state in record.worst().items():
                yield type_url, state.status
