"""The discovery protocol, usable as a library of its own: any protobuf resources to any xDS client.

Knows nothing of upstreams. Start at `DiscoveryServer`, `Snapshot` and `Resource`.
"""

from xds_server.xds.clients import Client, Rejection, TypeStatus
from xds_server.xds.events import Event
from xds_server.xds.limits import Limits
from xds_server.xds.node import Node
from xds_server.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
    Reference,
    Resource,
)
from xds_server.xds.server import AddressInUseError, DiscoveryServer
from xds_server.xds.snapshot import Snapshot

__all__ = [
    "CLUSTER",
    "ENDPOINTS",
    "EXTENSION_CONFIG",
    "LISTENER",
    "ROUTES",
    "RUNTIME",
    "SCOPED_ROUTES",
    "SECRET",
    "AddressInUseError",
    "Client",
    "DiscoveryServer",
    "Event",
    "Limits",
    "Node",
    "Reference",
    "Rejection",
    "Resource",
    "Snapshot",
    "TypeStatus",
]
