"""Who is connected, and what each client has acknowledged and rejected: the events, kept per stream while it lasts."""

from dataclasses import dataclass, field

from xds_server.xds.events import Event
from xds_server.xds.node import Node


@dataclass(frozen=True, slots=True)
class Rejection:
    """A client's NACK."""

    version: str
    """Of the response. (Of a type; resources have versions of their own.)"""
    detail: str
    """The client's words."""
    names: tuple[str, ...]
    """Resources that were new in the rejected response. Which of them are in use is not known (S23)."""
    culprits: tuple[str, ...]
    """Those that the client's words name."""
    applied: bool
    """See `Event.applied`."""


@dataclass(slots=True)
class TypeStatus:
    """One type on one stream. Versions are "" before the first."""

    sent: str = ""
    acknowledged: str = ""
    rejection: Rejection | None = None
    """The last answer, if it was a NACK; None again with the next ACK."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """Resources that the client refuses, with its words. It is not sent them before they change, and keeps what it had."""

    @property
    def in_sync(self) -> bool:
        """Whether the client acknowledged the last version that it was sent, and refuses nothing of it."""
        return self.sent == self.acknowledged and self.rejection is None and not self.quarantined


@dataclass(slots=True)
class Client:
    """One stream. A node has several of them when it asks per type, or for several gRPC channels (S8)."""

    stream: int
    node: Node
    types: dict[str, TypeStatus] = field(default_factory=dict)
    """By type URL."""


class Clients:
    """All open streams by number; an observer of events."""

    def __init__(self) -> None:
        self.by_stream: dict[int, Client] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "opened" and event.node is not None:
            self.by_stream[event.stream] = Client(event.stream, event.node)
        elif event.kind == "closed":
            self.by_stream.pop(event.stream, None)
        elif (client := self.by_stream.get(event.stream)) is not None:
            _note(client.types.setdefault(event.type_url, TypeStatus()), event)


def _note(status: TypeStatus, event: Event) -> None:
    if event.kind == "sent":
        status.sent = event.version
    elif event.kind == "acknowledged":
        status.acknowledged, status.rejection = event.version, None
    elif event.kind == "rejected":
        status.rejection = Rejection(event.version, event.detail, event.names, event.culprits, event.applied)
    elif event.kind == "quarantined":
        status.quarantined |= dict.fromkeys(event.names, event.detail)
    elif event.kind == "released":
        for name in event.names:
            status.quarantined.pop(name, None)
