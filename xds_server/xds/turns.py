"""When a type on a stream has its turn, given what the others are yet to send: make before break. No I/O.

The order is that of `ordering`; all waits are bounded.
"""

from collections.abc import Mapping

from xds_server.xds.ordering import AFTER_CLUSTERS, BREAK_WAIT, WARM_WAIT
from xds_server.xds.resource import CLUSTER, ROUTES
from xds_server.xds.watch import Watch

Watches = Mapping[str, Watch]
"""Of one stream, by type URL."""


def clusters_ready(watch: Watch, watches: Watches) -> float:
    """When a type may go as far as clusters are concerned: after these, and what directs traffic once they are warm."""
    clusters = watches.get(CLUSTER)
    if watch.urgent or clusters is None or not clusters.requested or clusters.type_url == watch.type_url:
        return 0.0
    if clusters.must_make:
        return clusters.paced_until()
    since = clusters.unanswered.adding_since
    return since + WARM_WAIT if since is not None and watch.type_url in AFTER_CLUSTERS else 0.0


def users_moved_on(watch: Watch, watches: Watches) -> float:
    """When removals may go: after listeners and routes stopped using what is removed, or after a bounded time."""
    if watch.type_url in AFTER_CLUSTERS or watch.gone_since is None:
        return 0.0
    clusters = watches.get(CLUSTER)
    waiting = users_busy(watches) or (clusters is not None and clusters.requested and clusters.must_make)
    if watch.inherited and ROUTES not in watches:
        # A client that came back asks for its types one by one: its routes may still use this.
        waiting = True
    return watch.gone_since + BREAK_WAIT if waiting else 0.0


def users_busy(watches: Watches) -> bool:
    """Whether listeners or routes, which may use what is removed, are about to change."""
    users = [watches[type_url] for type_url in AFTER_CLUSTERS if type_url in watches]
    return any(user.must_make or user.gone or user.unanswered for user in users)
