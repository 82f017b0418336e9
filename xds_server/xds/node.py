"""Who is asking: the part of a client's `core.v3.Node` that decides what it is served."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.json_format import MessageToDict


class InvalidNodeError(ValueError):
    """A client that does not say who it is."""


Variant = Literal["sotw", "delta"]
"""State of the world, or incremental."""
Service = Literal["aggregated", "per-type", "rest"]
"""One stream for all types (ADS), a stream for each, or polling."""


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
    service: Service = "aggregated"
    """How it asks. Resources that name others (a Cluster its endpoints) must send it the same way."""
    variant: Variant = "sotw"

    @property
    def is_grpc(self) -> bool:
        """Whether it is a gRPC client or server (``gRPC C-core``, ``gRPC Go``, ``gRPC Java``), which forwards for itself."""
        return self.user_agent.lower().startswith("grpc")

    @property
    def is_envoy(self) -> bool:
        """Whether it is an Envoy."""
        return self.user_agent.startswith("envoy ")

    @classmethod
    def of(cls, message: Any, service: Service = "aggregated", variant: Variant = "sotw") -> "Node":
        """Read a `core.v3.Node` message of a client that asks by `service` and `variant`.

        Raises InvalidNodeError for one without an id (S6), and for metadata that is no JSON.
        """
        if not message.id:
            raise InvalidNodeError("a first request, and each one that polls, needs a node with an id: set node.id")
        version = message.user_agent_build_version.version
        number = f"{version.major_number}.{version.minor_number}.{version.patch}"
        return cls(
            id=message.id,
            cluster=message.cluster,
            region=message.locality.region,
            zone=message.locality.zone,
            sub_zone=message.locality.sub_zone,
            user_agent=f"{message.user_agent_name} {message.user_agent_version or number}".strip(),
            metadata=_metadata(message) if message.HasField("metadata") else {},
            service=service,
            variant=variant,
        )


def _metadata(message: Any) -> Mapping[str, Any]:
    try:
        return MessageToDict(message.metadata)
    except ValueError as error:  # NaN, say
        raise InvalidNodeError(f"the node's metadata cannot be read: {error}") from None
