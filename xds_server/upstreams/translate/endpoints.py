"""Targets: `endpoint.v3.ClusterLoadAssignment`. All that can live here does: a changed Cluster drops its connections."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from xds_server.resolvers import Found, SrvAddress
from xds_server.upstreams.model import EQUAL_SHARES, Locality, Target, TargetHealthCheck, Upstream
from xds_server.upstreams.translate.host_names import endpoint_hostname
from xds_server.upstreams.translate.localities import locality_weights, without_emptied
from xds_server.upstreams.translate.messages import socket_address

Addresses = Mapping[str, Sequence[Found]]
"""`Target.lookup` -> what the control plane resolved it to; empty when unknown."""

METADATA_NAMESPACE = "xds-server"
"""Where a target's labels are in `LbEndpoint.metadata`: not a namespace that load balancing reads."""

# Envoy sums weights in 32 bits; half of that leaves room for rounding up to 1.
_MOST_WEIGHT = 2**31
_NO_SETTINGS = TargetHealthCheck()
_STATUS = health_check_pb2.HealthStatus
_MOST_PRIORITY = 128
"""The last one that Envoy knows."""
# Envoy, not we, knows how many hosts its names resolve to: enough for this many in one priority.
_MOST_RESOLVED_HOSTS = 10_000


class Host(NamedTuple):
    """One endpoint and where it goes. Sorted by all but what follows the port: equal definitions give equal bytes."""

    priority: tuple[int, int]
    """Of the target, and among the SRV records of its host."""
    locality: tuple[str, str, str]
    address: str
    port: int
    name: str
    """The host name that led to it, or the address."""
    weight: int
    target: Target
    found: Found
    """What it was resolved to."""


def envoy_resolves(upstream: Upstream) -> bool:
    """Whether the upstream becomes a DNS cluster, whose endpoints are part of the Cluster."""
    return upstream.resolve == "envoy" and any(target.needs_resolving for target in upstream.targets)


def endpoints(upstream: Upstream, addresses: Addresses | None = None) -> Any:
    """The upstream's `ClusterLoadAssignment`, or None where Envoy resolves the names.

    `addresses`: see `Addresses`; a name that is not in it has no endpoints. A name with several addresses gives an
    endpoint of the target's weight for each. An address and port that occur twice count where they come first, by
    priority and then with what was taken out by hand first, as Envoy would drop either silently. An assignment without
    endpoints is still one: without any, Envoy waits 15 s for it. With nearest first it is that for those who do not say
    where they are; see `nearest_first`.
    """
    if envoy_resolves(upstream):
        return None
    return _assignment(upstream, eds_name(upstream), _hosts(upstream, addresses or {}))


def enabled_hosts(upstream: Upstream, addresses: Addresses) -> dict[tuple[str, int], Host]:
    """The endpoints of an assignment that may get new requests, by address and port."""
    hosts = _hosts(upstream, addresses)
    return {(host.address, host.port): host for host in hosts if is_enabled(host.target)}


def is_enabled(target: Target) -> bool:
    """Whether a target was not taken out by hand, in whatever way."""
    return target.state != "disabled" and _status(target) == _STATUS.UNKNOWN


def dns_endpoints(upstream: Upstream) -> Any:
    """`Cluster.load_assignment` of a DNS cluster: names stay names."""
    return _assignment(upstream, upstream.name, _hosts(upstream, None))


def eds_name(upstream: Upstream) -> str:
    """Name of the upstream's assignment: its own, with a hash when targets have probe settings of their own.

    Envoy, given a target whose probe port changed, fails requests for seconds; under a new name it builds the cluster
    anew beside the old one and fails none. Where all targets share their settings, adding one changes nothing.
    """
    if upstream.health_checks.active is None:
        return upstream.name
    settings = {target.key: _probe_settings(target.health_check) for target in upstream.targets}
    distinct = set(settings.values())
    if distinct <= {None}:
        return upstream.name
    differing = sorted((key, text) for key, text in settings.items() if text)
    digest = hashlib.blake2b(json.dumps(differing if len(distinct) > 1 else [*distinct]).encode(), digest_size=6)
    return f"{upstream.name}#{digest.hexdigest()}"


def _probe_settings(check: TargetHealthCheck) -> str | None:
    return None if check == _NO_SETTINGS else check.model_dump_json()


def _hosts(upstream: Upstream, addresses: Addresses | None) -> list[Host]:
    """The endpoints, in order; with `addresses` None, names stay names."""
    found = (
        host
        for target in without_emptied(upstream).targets
        if _is_sent(upstream, target)
        for host in places_of(upstream, target, addresses)
    )
    first: dict[tuple[str, int], Host] = {}
    for host in sorted(found, key=lambda host: (*host[:4], -_status(host.target), host.name)):
        first.setdefault((host.address, host.port), host)
    return list(first.values())


def places_of(upstream: Upstream, target: Target, addresses: Addresses | None) -> Iterator[Host]:
    """The endpoints of one target."""
    locality = _parts(target.locality)
    places: Sequence[Found] = (target.host,)
    if addresses is not None and target.needs_resolving:
        places = addresses.get(target.lookup, ())
    ranks = sorted({place.priority for place in places if isinstance(place, SrvAddress)})
    for place in places:
        if isinstance(place, SrvAddress):
            rank = (target.priority, ranks.index(place.priority))
            weight = target.weight if upstream.algorithm in EQUAL_SHARES else target.weight * max(1, place.weight)
            yield Host(rank, locality, place.address, place.port, place.host, weight, target, place)
        elif isinstance(target.port, int):
            yield Host((target.priority, 0), locality, place, target.port, target.host, target.weight, target, place)


def _is_sent(upstream: Upstream, target: Target) -> bool:
    """Disabled targets are left out; so are all that were taken out by hand where panic would send to them."""
    if target.state == "disabled":
        return False
    return not upstream.sends_to_all_when_unhealthy or _status(target) == _STATUS.UNKNOWN


def _status(target: Target) -> int:
    if target.state == "unhealthy":
        return int(_STATUS.UNHEALTHY)
    if target.state == "draining" or target.weight == 0:  # Envoy refuses a weight of 0
        return int(_STATUS.DRAINING)
    return int(_STATUS.UNKNOWN)


def _assignment(upstream: Upstream, name: str, hosts: list[Host]) -> Any:
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    per_priority = Counter(host.priority for host in hosts)
    scale = sum(host.weight for host in hosts) // _MOST_WEIGHT + 1
    weights = locality_weights(upstream)
    ranks = {priority: min(rank, _MOST_PRIORITY) for rank, priority in enumerate(sorted(per_priority))}
    in_order = sorted(hosts, key=lambda host: (ranks[host.priority], host.locality))
    for rank, members in groupby(in_order, key=lambda host: ranks[host.priority]):
        for locality, group in groupby(members, key=lambda host: host.locality):
            entry = assignment.endpoints.add(priority=rank)
            if any(locality):
                entry.locality.CopyFrom(_locality(locality))
            if weight := weights.get(locality):
                entry.load_balancing_weight.value = weight
            entry.lb_endpoints.extend(_endpoint(upstream, host, scale) for host in group)
    if _is_all_down(upstream) and (len(per_priority) > 1 or (hosts and upstream.sends_to_all_when_unhealthy)):
        # A priority is left when health x factor < 100 %: with this factor, one of N healthy hosts keeps everything. Panic
        # begins there too: with the usual factor, 1 of 150 healthy hosts is below the least threshold, 1 %.
        largest = _MOST_RESOLVED_HOSTS if envoy_resolves(upstream) else max(per_priority.values())
        assignment.policy.overprovisioning_factor.value = 100 * largest
    return assignment


def _is_all_down(upstream: Upstream) -> bool:
    """Nearest first takes all-down only where there is one priority, and what it makes of that spills share by share."""
    return upstream.failover == "all-down" and not upstream.is_nearest_first


def _endpoint(upstream: Upstream, host: Host, scale: int) -> Any:
    target = host.target
    endpoint = endpoint_components_pb2.LbEndpoint(health_status=_status(target))
    endpoint.endpoint.address.CopyFrom(socket_address(host.address, host.port))
    endpoint.endpoint.hostname = endpoint_hostname(upstream, target, host.name)
    if upstream.health_checks.active is not None and target.health_check != _NO_SETTINGS:
        endpoint.endpoint.health_check_config.CopyFrom(_probe(target.health_check, host.port))
    if host.weight > 1:
        endpoint.load_balancing_weight.value = max(1, host.weight // scale)
    if target.labels:
        endpoint.metadata.CopyFrom(_metadata(target.labels))
    return endpoint


def _probe(check: TargetHealthCheck, port: int) -> Any:
    config = endpoint_components_pb2.Endpoint.HealthCheckConfig(
        hostname=check.hostname or "", disable_active_health_check=check.disabled
    )
    if check.address:
        config.address.CopyFrom(socket_address(check.address, check.port or port))
    elif check.port:
        config.port_value = check.port
    return config


def _metadata(labels: Mapping[str, str]) -> Any:
    metadata = base_pb2.Metadata()
    metadata.filter_metadata[METADATA_NAMESPACE].update(labels)
    return metadata


def _parts(locality: Locality) -> tuple[str, str, str]:
    return locality.region, locality.zone, locality.sub_zone


def _locality(parts: tuple[str, str, str]) -> Any:
    region, zone, sub_zone = parts
    return base_pb2.Locality(region=region, zone=zone, sub_zone=sub_zone)
