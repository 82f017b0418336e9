"""What a change does to an Envoy: a comparison of what a definition became before and after it. Pure.

A Cluster that differs in one byte is built anew beside the old one, which serves until the new one is warm. Requests under
way are finished, but what the old one had learned is lost. Endpoints, routes and listeners are replaced in place.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from envoy.config.cluster.v3 import cluster_pb2

from xds_server.delivery.compiled import Compiled
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES


class Effect(StrEnum):
    """One kind of effect. Values are words for people."""

    ADDED = "added"
    REMOVED = "removed"
    CLUSTER = "cluster rebuild"
    LISTENER = "listener"
    ROUTES = "routes"
    ENDPOINTS = "endpoints"
    NODES = "other nodes"
    """What some nodes receive is added there, and removed at others."""


class Effects(NamedTuple):
    """All that a change of one definition does. Text and truth value: whether and what."""

    kinds: tuple[Effect, ...] = ()
    """Empty for nothing, as for a new description."""
    drops: tuple[str, ...] = ()
    """What is lost in a rebuilt cluster."""

    def __str__(self) -> str:
        return ", ".join(self.kinds) or "nothing"

    def __bool__(self) -> bool:
        return bool(self.kinds)


_KINDS: Final = {CLUSTER: Effect.CLUSTER, LISTENER: Effect.LISTENER, ROUTES: Effect.ROUTES, ENDPOINTS: Effect.ENDPOINTS}


def effects(before: Compiled | None, after: Compiled | None, *, moved: bool = False) -> Effects:
    """What replacing `before` by `after` does where it is served. `moved`: it is served to other nodes than before."""
    if before is None or after is None:
        kinds = [Effect.ADDED] if after is not None else [Effect.REMOVED] if before is not None else []
        return Effects(tuple(kinds))
    found = {*_differing(before, after)} | ({Effect.NODES} if moved else set())
    return Effects(tuple(kind for kind in Effect if kind in found), _lost(before) if Effect.CLUSTER in found else ())


def _differing(before: Compiled, after: Compiled) -> Iterator[Effect]:
    """Bodies are compared, not versions: an assignment's version changes with its cluster's, so that it is sent again."""
    old, new = ({(r.type_url, r.name): r.body for r in compiled.resources} for compiled in (before, after))
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key) and key[0] in _KINDS:
            yield _KINDS[key[0]]
    if before.virtual_host != after.virtual_host:
        yield Effect.ROUTES


def _lost(before: Compiled) -> tuple[str, ...]:
    body = next(resource.body for resource in before.resources if resource.type_url == CLUSTER)
    cluster = cluster_pb2.Cluster.FromString(body)
    lost = ["connections"]
    if cluster.HasField("outlier_detection"):
        lost.append("ejections")
    if cluster.health_checks:
        lost.append("probe results")
    return tuple(lost)
