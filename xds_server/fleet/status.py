"""What is known of one node: the words of the management API, as data that JSON can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from xds_server.fleet.plain import plain
from xds_server.xds import Service, Variant

Status = Literal["SYNCED", "STALE", "NACKED", "NOT SENT"]
"""SYNCED: the last response was acknowledged, or the client came back with all that there is. STALE: it is not answered yet.
NACKED: something that was rejected has not been acknowledged since, or is kept back. NOT SENT: asked for, and nothing was sent
yet."""
WORST_FIRST: Final[tuple[Status, ...]] = ("NACKED", "STALE", "NOT SENT", "SYNCED")


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a client said to something that it would not take."""

    version: str
    """Of the response."""
    message: str
    """The client's words."""
    culprits: tuple[str, ...]
    """Names of the resources that these name; empty when none can be told."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A resource that a client refuses. It keeps what it had, and is not sent this one again before it changes."""

    name: str
    message: str
    """The client's words."""


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One type of a node. Where several of its streams carry the type, the one that is worst off counts."""

    type: str
    """Short: ``Cluster``."""
    type_url: str
    status: Status
    version_sent: str
    """Of the whole type, as all versions here; "" before the first."""
    version_acknowledged: str
    sent_at: datetime | None
    acknowledged_at: datetime | None
    acknowledgement_seconds: float | None
    """How long the last acknowledgement took."""
    rejection: Rejection | None
    """The last one, while the status is NACKED."""
    quarantined: tuple[Quarantined, ...]
    """What is kept back, sorted by name; the first 100."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One open stream of a node."""

    stream: int
    """Its number, unique in the process of its server."""
    peer: str
    """Where it comes from: ``ADDRESS:PORT``."""
    service: Service
    variant: Variant
    connected_since: datetime
    types: tuple[str, ...]
    """Type URLs that it carries."""
    replica: str = ""
    """The control plane that it is a stream of; empty where there is one only."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node, which may have several streams: for its types, or because two processes share its id for a while. These may be
    streams of several replicas."""

    id: str
    connected: bool
    connected_since: datetime | None
    """Since when its oldest stream is open."""
    disconnected_at: datetime | None
    """When its last stream ended."""
    cluster: str
    region: str
    zone: str
    sub_zone: str
    metadata: Mapping[str, Any]
    """With the labels that definitions select nodes by."""
    user_agent: str
    """Name and version: ``envoy 1.40.0``."""
    service: Service
    variant: Variant
    streams: tuple[StreamStatus, ...]
    types: tuple[TypeStatus, ...]
    """Sorted by name. Of a node that has left: as it was then."""

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replicas that it is connected to, sorted; none where there is one only, and of a node that has left."""
        return tuple(sorted({stream.replica for stream in self.streams} - {""}))

    @property
    def rejects(self) -> bool:
        """Whether it rejects anything, or did when it left."""
        return any(type.status == "NACKED" for type in self.types)

    def at(self, replica: str) -> "NodeStatus":
        """With all of its streams at a replica."""
        return replace(self, streams=tuple(replace(stream, replica=replica) for stream in self.streams))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: times as text in UTC."""
        data: dict[str, Any] = plain(self)
        return data
