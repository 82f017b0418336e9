"""Make before break: in which order types are sent, and which type waits for which.

Rules: xDS protocol, "Eventual consistency considerations" (conformance S55, S56, S60, S63, D33). Clusters come before their
endpoints, both before listeners, those before routes; what is removed goes last and in reverse. No I/O here.
"""

from typing import Final

from xds_server.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES

_MAKE: Final = {CLUSTER: 0, ENDPOINTS: 1, LISTENER: 3, SCOPED_ROUTES: 4, ROUTES: 5}

FULL_SETS: Final = frozenset({CLUSTER, LISTENER, SCOPED_ROUTES})
"""Types whose state-of-the-world responses hold everything: absent means deleted (S42)."""

LEGACY_WILDCARD: Final = frozenset({CLUSTER, LISTENER, SCOPED_ROUTES})
"""Types that a first request without names asks for as a whole (S48)."""

AFTER_CLUSTERS: Final = frozenset({LISTENER, SCOPED_ROUTES, ROUTES})
"""Types that may direct traffic to new clusters, and so wait (for a bounded time) until these are warm."""


def make_order(type_url: str) -> int:
    """Rank for sending what was added or changed: lower first. Types without a rule go between endpoints and listeners."""
    return _MAKE.get(type_url, 2)


def break_order(type_url: str) -> int:
    """Rank for sending what was removed: lower first."""
    return -make_order(type_url)


def answer_wait(type_url: str) -> float:
    """Seconds that an unanswered response holds back the next one of its type.

    Envoy answers CDS only when clusters are warm, and may never answer (S24, S25), so the wait is short there.
    """
    return 0.1 if type_url in FULL_SETS else 1.0


WARM_WAIT: Final = 1.0
"""Seconds that listeners and routes wait for the answer to a response that added clusters."""

BREAK_WAIT: Final = 2.0
"""Seconds that removals wait at most for listeners and routes to stop using what is removed: for these to be sent (see
`WARM_WAIT`) and to be answered."""
