"""The discovery protocol, usable as a library of its own: any protobuf resources to any xDS client.

Knows nothing of upstreams. Start at `DiscoveryServer`, `Snapshot` and `Resource`.
"""

from xds_server.xds.awaited import Outcome
from xds_server.xds.clients import Client, Rejection, TypeStatus
from xds_server.xds.events import Event, Observer
from xds_server.xds.limits import Limits
from xds_server.xds.node import Node, Service, Variant
from xds_server.xds.peer import Authorize
from xds_server.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
    InvalidResourceError,
    Reference,
    Resource,
)
from xds_server.xds.server import AddressInUseError, DiscoveryServer
from xds_server.xds.snapshot import Snapshot, Touched
from xds_server.xds.tracking import Pending, Tracking
from xds_server.xds.validation import Violation

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
    "Authorize",
    "Client",
    "DiscoveryServer",
    "Event",
    "InvalidResourceError",
    "Limits",
    "Node",
    "Observer",
    "Outcome",
    "Pending",
    "Reference",
    "Rejection",
    "Resource",
    "Service",
    "Snapshot",
    "Touched",
    "Tracking",
    "TypeStatus",
    "Variant",
    "Violation",
]
