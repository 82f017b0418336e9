"""Make before break on an aggregated stream (S55, S56, S60, D33): in which order types are sent, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping

from model_client import clusters_of
from model_ledger import Ledger, Said

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME, Snapshot

RANK = {CLUSTER: 0, ENDPOINTS: 1, RUNTIME: 2, LISTENER: 3, ROUTES: 4}
WARM, BREAK = 1.0, 2.0
"""Seconds that routes wait for new clusters, and removals for routes."""


class Order:
    """The order of the responses of one stream. `ledgers`: of its types."""

    def __init__(self, ledgers: Mapping[str, Ledger]) -> None:
        self._ledgers = ledgers
        self._rank = 0

    def pause(self) -> None:
        """The server has nothing more to say: the order begins anew."""
        self._rank = 0

    def check(self, ledger: Ledger, said: Said, snapshot: Snapshot, now: float) -> None:
        """Whether a response of the ledger's type may go out now."""
        urgent = ledger.urgent or bool(ledger.asked) or ledger.answer_due
        if said.new - said.kept_back(ledger) and not urgent:
            assert RANK[ledger.type_url] >= self._rank, "B36: clusters, endpoints, listeners, routes, in this order"
            self._rank = RANK[ledger.type_url]
        if ledger.type_url == ROUTES and not urgent:
            self._routes(said, snapshot, now)
        removed = said.removed - said.left_out - ledger.asked - ledger.may
        if ledger.type_url == LISTENER and removed:
            there = {name for name in snapshot.names(LISTENER) if ledger.side.wants(name) and name not in ledger.barred}
            late = {name for name in there if name not in ledger.sent and name not in said.bodies}
            assert not late, f"a listener is removed before {sorted(late)}, which may take its place"
        if ledger.type_url == CLUSTER and removed:
            self._removal(ledger, removed, snapshot, now)

    def _routes(self, said: Said, snapshot: Snapshot, now: float) -> None:
        """Routes wait for the clusters that they need to be warm."""
        clusters, routes = self._ledgers.get(CLUSTER), self._ledgers[ROUTES]
        if clusters is None or not clusters.requested:
            return  # nothing waits for what was sent unasked (S71)
        for name in said.new:
            fresh = clusters_of(said.bodies[name]) - clusters_of(routes.content.get(name, b"")) - clusters.barred.keys()
            for used in (used for used in fresh if clusters.side.wants(used) and snapshot.get(CLUSTER, used)):
                assert used in clusters.sent, f"S55: route {name!r} needs cluster {used!r}, which was not sent"
                warm = not any(used in waiting.added for waiting in clusters.waiting.values())
                waited = warm or now - min(waiting.since for waiting in clusters.waiting.values()) > WARM - 1e-6
                assert waited, f"S55: route {name!r} needs cluster {used!r}, which is not warm"

    def _removal(self, clusters: Ledger, removed: set[str], snapshot: Snapshot, now: float) -> None:
        """Clusters go once no route needs them, or after a while."""
        routes = self._ledgers.get(ROUTES)
        since = clusters.gone_since
        if routes is None or (since is not None and now - since > BREAK - 1e-6):
            return
        for route, body in routes.content.items():
            kept = snapshot.get(ROUTES, route)
            leaves = clusters_of(body) - (clusters_of(kept.body) if kept is not None else frozenset())
            if routes.side.wants(route) and (kept is not None or clusters.delta):
                assert not leaves & removed, (
                    f"S55: cluster {leaves & removed} is removed before route {route!r} lets go"
                )
        for waiting in routes.waiting.values():
            assert not waiting.released & removed, f"S56: {waiting.released & removed} before the routes are answered"
