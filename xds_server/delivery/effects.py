"""What a change does to an Envoy: a comparison of what a definition became before and after it. Pure.

A Cluster that differs in one byte is built anew beside the old one, which serves until the new one is warm. Requests under
way are finished, but what the old one had learned is lost. Endpoints, routes, listeners and certificates are replaced in
place; only a target that changes its place or its own host name is another one to Envoy, which closes its connections when
they are idle.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from xds_server.delivery.compiled import Compiled
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET


class Effect(StrEnum):
    """One kind of effect. Values are words for people."""

    ADDED = "added"
    REMOVED = "removed"
    CLUSTER = "cluster rebuild"
    LISTENER = "listener"
    ROUTES = "routes"
    ENDPOINTS = "endpoints"
    CERTIFICATES = "certificates"
    """New connections show and believe other ones; those that are open stay."""
    NODES = "other nodes"
    """What some nodes receive is added there, and removed at others."""


class Effects(NamedTuple):
    """All that a change of one definition does. Text and truth value: whether and what."""

    kinds: tuple[Effect, ...] = ()
    """Empty for nothing, as for a new description."""
    drops: tuple[str, ...] = ()
    """What is lost, beside the connections of targets that go."""

    def __str__(self) -> str:
        return ", ".join(self.kinds) or "nothing"

    def __bool__(self) -> bool:
        return bool(self.kinds)


_KINDS: Final = {
    CLUSTER: Effect.CLUSTER,
    LISTENER: Effect.LISTENER,
    ROUTES: Effect.ROUTES,
    ENDPOINTS: Effect.ENDPOINTS,
    SECRET: Effect.CERTIFICATES,
}
UNSERVED: Final = "requests while no new target has passed its first probe"


def effects(before: Compiled | None, after: Compiled | None, *, moved: bool = False, unserved: bool = False) -> Effects:
    """What replacing `before` by `after` does where it is served. `moved`: it is served to other nodes than before.
    `unserved`: see `Plan.is_unserved`."""
    if before is None or after is None:
        kinds = [Effect.ADDED] if after is not None else [Effect.REMOVED] if before is not None else []
        return Effects(tuple(kinds))
    found = {*_differing(before, after)} | ({Effect.NODES} if moved else set())
    lost: tuple[str, ...] = ()
    if Effect.CLUSTER in found:
        lost = _lost_with(before)
    elif Effect.ENDPOINTS in found and (replaced := _replaced(before, after)):
        lost = (f"connections of {replaced} target(s)",)
    if unserved:
        lost = (*lost, UNSERVED)
    return Effects(tuple(kind for kind in Effect if kind in found), lost)


def _differing(before: Compiled, after: Compiled) -> Iterator[Effect]:
    """Bodies are compared, not versions: an assignment's version changes with its cluster's, so that it is sent again."""
    old, new = ({(r.type_url, r.name): r.body for r in compiled.resources} for compiled in (before, after))
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key) and key[0] in _KINDS:
            yield _KINDS[key[0]]
    if before.nearest_first != after.nearest_first:
        yield Effect.ENDPOINTS  # elsewhere than at `NOWHERE`
    if before.virtual_host != after.virtual_host:
        yield Effect.ROUTES


def _lost_with(before: Compiled) -> tuple[str, ...]:
    cluster = cluster_pb2.Cluster.FromString(_body(before, CLUSTER))
    lost = ["connections"]
    if cluster.HasField("outlier_detection"):
        lost.append("ejections")
    if cluster.health_checks:
        lost.append("probe results")
    return tuple(lost)


def _replaced(before: Compiled, after: Compiled) -> int:
    """How many targets stay and are other ones to Envoy."""
    old, new = _hosts(before), _hosts(after)
    gone, come = _identities(old - new), _identities(new - old)
    return sum(gone[address] != come[address] for address in gone.keys() & come.keys())


def _hosts(compiled: Compiled) -> set[tuple[bytes, bytes]]:
    """All endpoints, each with its locality. As bytes: of thousands, few differ."""
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(_body(compiled, ENDPOINTS))
    localities = ((group.locality.SerializeToString(), group.lb_endpoints) for group in assignment.endpoints)
    return {(locality, host.SerializeToString()) for locality, hosts in localities for host in hosts}


def _identities(hosts: Iterable[tuple[bytes, bytes]]) -> dict[bytes, tuple[bytes, str]]:
    """What Envoy knows each of `hosts` by, by its address."""
    found = ((locality, endpoint_components_pb2.LbEndpoint.FromString(host).endpoint) for locality, host in hosts)
    return {host.address.SerializeToString(): (locality, host.hostname) for locality, host in found}


def _body(compiled: Compiled, type_url: str) -> bytes:
    return next((resource.body for resource in compiled.resources if resource.type_url == type_url), b"")
