"""Nodes that ask in every way, and what a publisher serves them."""

import asyncio
from typing import Final

from xds_server.delivery.publisher import Publisher
from xds_server.upstreams.translate import Dialect
from xds_server.xds import Node, Snapshot

ADS: Final = Node("ads")
PER_TYPE: Final = Node("per-type", service="per-type", variant="sotw")
PER_TYPE_DELTA: Final = Node("per-type-delta", service="per-type", variant="delta")
REST: Final = Node("rest", service="rest")
GRPC: Final = Node("grpc", user_agent="gRPC C-core 1.85.1")
ENVOYS: Final = (ADS, PER_TYPE, PER_TYPE_DELTA, REST)
NODES: Final = {
    Dialect.ADS: ADS,
    Dialect.PER_TYPE: PER_TYPE,
    Dialect.PER_TYPE_DELTA: PER_TYPE_DELTA,
    Dialect.REST: REST,
    Dialect.GRPC_CLIENT: GRPC,
}


def served(publisher: Publisher, node: Node) -> Snapshot | None:
    """What a node is served; it asks for it if it did not before."""
    return publisher.server.snapshot(publisher._group_of(node))


async def arrives(publisher: Publisher, *nodes: Node) -> None:
    """Have nodes ask, and wait until they are served."""
    async with asyncio.timeout(10):
        for node in nodes:
            while served(publisher, node) is None:
                await asyncio.sleep(0)
