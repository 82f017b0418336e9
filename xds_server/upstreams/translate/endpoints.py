"""Targets: `endpoint.v3.ClusterLoadAssignment`. All that can live here does: a changed Cluster drops its connections."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.resolvers import Found, SrvAddress
from xds_server.upstreams.model import EQUAL_SHARES, Locality, Target, Upstream
from xds_server.upstreams.translate.lb_endpoints import UNKNOWN, health_status, lb_endpoint
from xds_server.upstreams.translate.localities import locality_weights, without_emptied
from xds_server.xds.resource import length_delimited

Addresses = Mapping[str, Sequence[Found]]
"""`Target.lookup` -> what the control plane resolved it to; empty when unknown."""

# Envoy sums weights in 32 bits; half of that leaves room for rounding up to 1.
_MOST_WEIGHT = 2**31
_MOST_PRIORITY = 128
"""The last one that Envoy knows."""
# Envoy, not we, knows how many hosts its names resolve to: enough for this many in one priority.
_MOST_RESOLVED_HOSTS = 10_000
_LB_ENDPOINTS: Final = 2
"""Number of the field in `LocalityLbEndpoints`."""


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


class Endpoint(NamedTuple):
    """One endpoint, encoded."""

    order: tuple[Any, ...]
    """What endpoints are sorted by."""
    host: Host
    frame: bytes = b""
    """As one of the `lb_endpoints` of its locality; empty until it is made."""


class Encoded(NamedTuple):
    """All endpoints of an upstream. Its next change takes from here those of the targets that stay."""

    endpoints: Sequence[Endpoint]
    """In order, and each address and port once."""
    scale: int
    """By which weights are divided, so that Envoy can sum them."""
    by_target: Mapping[int, Endpoint]
    """Those of targets that are given by address, by identity: they are held by their endpoints."""


Inspect = Callable[[Any], object]
"""Is shown what is made: each `LbEndpoint`, and the assignment before they are in it."""


def _ignore(_: Any) -> None:
    """Nobody wants to see it."""


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
    return assignment(upstream, encoded(upstream, addresses or {}))


def enabled_hosts(upstream: Upstream, addresses: Addresses) -> dict[tuple[str, int], Host]:
    """The endpoints of an assignment that may get new requests, by address and port."""
    hosts = (each.host for each in _in_order(upstream, addresses, {}))
    return {(host.address, host.port): host for host in hosts if is_enabled(host.target)}


def is_enabled(target: Target) -> bool:
    """Whether a target was not taken out by hand, in whatever way."""
    return target.state != "disabled" and health_status(target) == UNKNOWN


def dns_endpoints(upstream: Upstream) -> Any:
    """`Cluster.load_assignment` of a DNS cluster: names stay names."""
    return assignment(upstream, encoded(upstream, None), upstream.name)


def eds_name(upstream: Upstream) -> str:
    """Name of the upstream's assignment: its own, with a hash when targets have probe settings of their own.

    Envoy, given a target whose probe port changed, fails requests for seconds; under a new name it builds the cluster
    anew beside the old one and fails none. Where all targets share their settings, adding one changes nothing.
    """
    if upstream.health_checks.active is None or not any(target.is_probed_otherwise for target in upstream.targets):
        return upstream.name
    settings = {target.key: _probe_settings(target) for target in upstream.targets}
    distinct = set(settings.values())
    differing = sorted((key, text) for key, text in settings.items() if text)
    digest = hashlib.blake2b(json.dumps(differing if len(distinct) > 1 else [*distinct]).encode(), digest_size=6)
    return f"{upstream.name}#{digest.hexdigest()}"


def _probe_settings(target: Target) -> str | None:
    return target.health_check.model_dump_json() if target.is_probed_otherwise else None


def encoded(
    upstream: Upstream, addresses: Addresses | None, before: Encoded | None = None, inspect: Inspect = _ignore
) -> Encoded:
    """The endpoints, in order; with `addresses` None, names stay names.

    `before`: of an upstream that differs from this one in its targets alone. What it has of a target given by address that is
    the same object is taken as it is.
    """
    in_order = _in_order(upstream, addresses, before.by_target if before is not None else {})
    scale = sum(each.host.weight for each in in_order) // _MOST_WEIGHT + 1
    are_kept = before is not None and before.scale == scale
    made = [each if each.frame and are_kept else _made(upstream, each, scale, inspect) for each in in_order]
    return Encoded(
        made, scale, {id(each.host.target): each for each in made if each.host.address is each.host.target.host}
    )


def _made(upstream: Upstream, endpoint: Endpoint, scale: int, inspect: Inspect) -> Endpoint:
    host = endpoint.host
    weight = max(1, host.weight // scale) if host.weight > 1 else 0
    message = lb_endpoint(upstream, host.target, host.address, host.port, host.name, weight)
    inspect(message)
    frame = length_delimited(_LB_ENDPOINTS, message.SerializeToString(deterministic=True))
    return Endpoint(endpoint.order, host, frame)


def _in_order(upstream: Upstream, addresses: Addresses | None, known: Mapping[int, Endpoint]) -> list[Endpoint]:
    """All endpoints, sorted, and of those with the same address and port the first. `known`: by identity of the target, in
    order, so that there is little to sort. None of them is like another one in all that is sorted by: only those of one host
    name can be, of which the first that is written counts.
    """
    targets = without_emptied(upstream).targets
    there = {id(target) for target in targets} if known else ()
    found = [endpoint for target, endpoint in known.items() if target in there]
    for target in targets:
        if id(target) not in known and _is_sent(upstream, target):
            hosts = places_of(upstream, target, addresses)
            found += [Endpoint((*host[:4], -health_status(target), host.name), host) for host in hosts]
    found.sort(key=itemgetter(0))
    first: dict[tuple[str, int], Endpoint] = {}
    for each in found:
        first.setdefault(each.order[2:4], each)
    return [*first.values()]


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
    return not upstream.sends_to_all_when_unhealthy or health_status(target) == UNKNOWN


def assignment(upstream: Upstream, found: Encoded, name: str = "", inspect: Inspect = _ignore) -> Any:
    """The `ClusterLoadAssignment` of these endpoints. `name`: default `eds_name`."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name or eds_name(upstream))
    groups = {key: [*members] for key, members in groupby(found.endpoints, key=lambda each: each.order[:2])}
    counts: dict[tuple[int, int], int] = {}
    for (priority, _), members in groups.items():
        counts[priority] = counts.get(priority, 0) + len(members)
    ranks = {priority: min(rank, _MOST_PRIORITY) for rank, priority in enumerate(sorted(counts))}
    frames: dict[tuple[int, tuple[str, str, str]], list[bytes]] = {}
    for (priority, locality), members in groups.items():
        frames.setdefault((ranks[priority], locality), []).extend([each.frame for each in members])
    in_order = sorted(frames.items())
    weights = locality_weights(upstream)
    for (rank, locality), _ in in_order:
        entry = message.endpoints.add(priority=rank)
        if any(locality):
            entry.locality.CopyFrom(_locality(locality))
        if weight := weights.get(locality):
            entry.load_balancing_weight.value = weight
    if _is_all_down(upstream) and (len(counts) > 1 or (counts and upstream.sends_to_all_when_unhealthy)):
        # A priority is left when health x factor < 100 %: with this factor, one of N healthy hosts keeps everything. Panic
        # begins there too: with the usual factor, 1 of 150 healthy hosts is below the least threshold, 1 %.
        largest = _MOST_RESOLVED_HOSTS if envoy_resolves(upstream) else max(counts.values())
        message.policy.overprovisioning_factor.value = 100 * largest
    inspect(message)
    for entry, (_, endpoints) in zip(message.endpoints, in_order, strict=True):
        entry.MergeFromString(b"".join(endpoints))
    return message


def _is_all_down(upstream: Upstream) -> bool:
    """Nearest first takes all-down only where there is one priority, and what it makes of that spills share by share."""
    return upstream.failover == "all-down" and not upstream.is_nearest_first


def _parts(locality: Locality) -> tuple[str, str, str]:
    return locality.region, locality.zone, locality.sub_zone


def _locality(parts: tuple[str, str, str]) -> Any:
    region, zone, sub_zone = parts
    return base_pb2.Locality(region=region, zone=zone, sub_zone=sub_zone)
