"""What happens on streams, for whoever wants to watch: logs, metrics, the fleet's status, tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xds_server.xds.node import Node

Kind = Literal[
    "opened",
    "subscribed",
    "resumed",
    "sent",
    "oversized",
    "acknowledged",
    "rejected",
    "quarantined",
    "released",
    "refused",
    "closed",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on one stream."""

    kind: Kind
    stream: int
    """Number of the stream, unique in this process. refused: 0 for a client that polls."""
    node: Node | None
    """Who is at the other end; None until the first request. refused: who the client says it is."""
    type_url: str = ""
    version: str = ""
    """sent: the version sent. acknowledged, rejected: the version of the response that is answered. resumed: what the client
    holds from an earlier stream, as it says, and needs nothing on top of."""
    nonce: str = ""
    names: tuple[str, ...] = ()
    """subscribed: names newly asked for (``*`` is everything). sent, oversized, acknowledged, rejected: resources in the
    response that are new to the client. quarantined: resources that this stream is not sent before they change. released:
    those of which that is true no more."""
    removed: tuple[str, ...] = ()
    """sent: resources that the client is told to drop (delta). subscribed: names no longer asked for."""
    detail: str = ""
    """rejected, quarantined: the client's words. oversized: what will happen. refused, closed: why."""
    culprits: tuple[str, ...] = ()
    """rejected: the resources of the response that the client's words name."""
    size: int = 0
    """sent: bytes of the response."""
    peer: str = ""
    """opened: the address that the client connected from, ``ADDRESS:PORT``; "" where it is not known."""
    applied: bool = False
    """rejected: the client says in the same request that it holds this version. Envoy does when the error is left over from
    an earlier response (S19), gRPC when a part was good (S18): part of it, or all, is in use."""


Observer = Callable[[Event], None]
