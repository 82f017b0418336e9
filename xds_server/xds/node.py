"""Who is asking: the part of a client's `core.v3.Node` that decides what it is served."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict


@dataclass(frozen=True, slots=True)
class Node:
    """A connected client, as its bootstrap describes it."""

    id: str
    cluster: str = ""
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    user_agent: str = ""
    """Name and version of the client, for example ``envoy 1.40.0``."""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, message: Any) -> "Node":
        """Read a `core.v3.Node` message."""
        version = message.user_agent_build_version.version
        number = f"{version.major_number}.{version.minor_number}.{version.patch}"
        return cls(
            id=message.id,
            cluster=message.cluster,
            region=message.locality.region,
            zone=message.locality.zone,
            sub_zone=message.locality.sub_zone,
            user_agent=f"{message.user_agent_name} {message.user_agent_version or number}".strip(),
            metadata=MessageToDict(message.metadata) if message.HasField("metadata") else {},
        )
