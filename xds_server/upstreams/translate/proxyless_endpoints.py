"""Targets as gRPC takes them: `ClusterLoadAssignment` with localities that carry the weights.

gRPC's round robin ignores the weights of endpoints, but it chooses among localities by weight (A27). So the targets of
one place and one weight are a locality: the locality gets its weight times their number, and within it shares are equal.
Ring hash multiplies the weights of endpoint and locality (A42), so there all are in one locality of weight 1; with nearest
first in one for each place, as it is localities that are near or far.

The weight of a locality (`localities.weights`) is divided among its targets by their weights.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from math import lcm
from typing import Any, Final, NamedTuple

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.model.upstream import HASHING
from xds_server.upstreams.translate.endpoints import Addresses, endpoints, envoy_resolves, is_enabled
from xds_server.upstreams.translate.localities import LocalityWeights, locality_weights
from xds_server.upstreams.translate.messages import socket_address

_UNKNOWN: Final = health_check_pb2.HealthStatus.UNKNOWN
_NOWHERE: Final = ("", "", "")
_MOST_WEIGHT: Final = 2**31
_EQUAL: Final = ("round-robin", "random")
"""Algorithms under which weights say nothing."""


class _Host(NamedTuple):
    priority: int
    locality: tuple[str, str, str]
    weight: int
    """What tells apart the shares of two hosts of a locality; sorted by it."""
    address: Any
    share: int
    """Its weight among all hosts of its priority."""


def proxyless_endpoints(upstream: Upstream, addresses: Addresses) -> Any:
    """The upstream's `ClusterLoadAssignment`, or None where its clients resolve a name (see `proxyless_cluster`).

    Targets that get no new RPCs are left out, as clients would drop them (R14); RPCs that run on them are finished.
    Priorities and addresses are those of the assignment for Envoys: without gaps, each address once.
    """
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=upstream.name)
    if envoy_resolves(upstream):
        return None if is_enabled(upstream.targets[0]) else assignment
    hosts = sorted(_shared([*_hosts(upstream, addresses)], locality_weights(upstream)), key=lambda host: host[:3])
    for rank, (_, members) in enumerate(groupby(hosts, key=lambda host: host.priority)):
        if upstream.algorithm in HASHING:
            for locality, hashed in groupby(
                members, key=lambda host: host.locality if upstream.is_nearest_first else _NOWHERE
            ):
                _add_hashed(assignment.endpoints.add(priority=rank), locality, hashed)
        else:
            for (locality, weight), group in groupby(members, key=lambda host: host[1:3]):
                _add_balanced(assignment.endpoints.add(priority=rank), locality, weight, [*group])
    return assignment


def single_endpoint(upstream: Upstream) -> Any:
    """`Cluster.load_assignment` of a DNS cluster: the one target by its name."""
    (target,) = upstream.targets
    assert isinstance(target.port, int)  # no SRV records are asked for then
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=upstream.name)
    entry = assignment.endpoints.add(locality=_locality(_NOWHERE))
    entry.load_balancing_weight.value = 1
    entry.lb_endpoints.append(_endpoint(socket_address(target.host, target.port)))
    return assignment


def _hosts(upstream: Upstream, addresses: Addresses) -> Iterator[_Host]:
    for group in endpoints(upstream, addresses).endpoints:
        locality = (group.locality.region, group.locality.zone, group.locality.sub_zone)
        for endpoint in group.lb_endpoints:
            if endpoint.health_status == _UNKNOWN:
                weight = 1 if upstream.algorithm in _EQUAL else endpoint.load_balancing_weight.value or 1
                yield _Host(group.priority, locality, weight, endpoint.endpoint.address, share=weight)


def _shared(hosts: list[_Host], weights: LocalityWeights) -> list[_Host]:
    """The hosts with their shares of what their localities get, in the smallest whole numbers that are not too large."""
    if not weights or not hosts:
        return hosts
    wholes: Counter[tuple[int, tuple[str, str, str]]] = Counter()
    for host in hosts:
        wholes[host[:2]] += host.weight
    scale = min(lcm(*wholes.values()), _MOST_WEIGHT // (max(weights.values()) * len(weights)))
    return [
        host._replace(share=max(1, weights.get(host.locality, 1) * host.weight * scale // wholes[host[:2]]))
        for host in hosts
    ]


def _add_balanced(entry: Any, locality: tuple[str, str, str], weight: int, hosts: list[_Host]) -> None:
    entry.locality.CopyFrom(_locality(_told_apart(locality, weight)))
    entry.load_balancing_weight.value = sum(host.share for host in hosts)
    entry.lb_endpoints.extend(_endpoint(host.address) for host in hosts)


def _add_hashed(entry: Any, locality: tuple[str, str, str], hosts: Iterator[_Host]) -> None:
    entry.locality.CopyFrom(_locality(locality))
    entry.load_balancing_weight.value = 1
    for host in hosts:
        endpoint = _endpoint(host.address)
        endpoint.load_balancing_weight.value = host.share
        entry.lb_endpoints.append(endpoint)


def _told_apart(locality: tuple[str, str, str], weight: int) -> tuple[str, str, str]:
    """A name of its own for each locality and weight, as clients refuse a locality that comes twice (R21)."""
    region, zone, sub_zone = locality
    if weight == 1 and "#" not in sub_zone:
        return locality
    return region, zone, f"{sub_zone}#{weight}"


def _locality(parts: tuple[str, str, str]) -> Any:
    """Also of nowhere in particular: clients refuse an assignment whose localities are absent (R13)."""
    region, zone, sub_zone = parts
    return base_pb2.Locality(region=region, zone=zone, sub_zone=sub_zone)


def _endpoint(address: Any) -> Any:
    return endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))
