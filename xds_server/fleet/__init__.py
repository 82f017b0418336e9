"""What is known of every connected client, and how far each revision has come with them. Start at `Fleet`.

Knows streams, nodes and numbers of revisions, and nothing of upstreams.
"""

from xds_server.fleet.fleet import Commit, Fleet, UnknownRevisionError
from xds_server.fleet.metrics import CatalogueFigures, Metrics
from xds_server.fleet.others import Others, Part
from xds_server.fleet.progress import Progress, Rejected
from xds_server.fleet.status import WORST_FIRST, NodeStatus, Quarantined, Rejection, Status, StreamStatus, TypeStatus
from xds_server.fleet.unshared import Unshared

__all__ = [
    "WORST_FIRST",
    "CatalogueFigures",
    "Commit",
    "Fleet",
    "Metrics",
    "NodeStatus",
    "Others",
    "Part",
    "Progress",
    "Quarantined",
    "Rejected",
    "Rejection",
    "Status",
    "StreamStatus",
    "TypeStatus",
    "UnknownRevisionError",
    "Unshared",
]
