"""What is known of every connected client, and how far each revision has come with them. Start at `Fleet`.

Knows streams, nodes and numbers of revisions, and nothing of upstreams.
"""

from xds_server.fleet.fleet import Commit, Fleet, UnknownRevisionError
from xds_server.fleet.metrics import CatalogueFigures, Metrics
from xds_server.fleet.progress import Progress, Rejected
from xds_server.fleet.status import NodeStatus, Quarantined, Rejection, Status, StreamStatus, TypeStatus

__all__ = [
    "CatalogueFigures",
    "Commit",
    "Fleet",
    "Metrics",
    "NodeStatus",
    "Progress",
    "Quarantined",
    "Rejected",
    "Rejection",
    "Status",
    "StreamStatus",
    "TypeStatus",
    "UnknownRevisionError",
]
