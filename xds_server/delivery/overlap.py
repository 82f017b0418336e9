"""Targets that are replaced stay beside the new ones until these can have been probed. No clock: the time is an argument.

With active checks Envoy gives a new target nothing before its first probe. Replacing all targets of a priority in one edit
would answer 503 until then. So when a priority is left with targets alone that are newer than an overlap, those that it
loses stay until the overlap is over. What was taken out by hand is never kept, and no overlap is needed without active
checks, or where the assignment has a new name: Envoy then builds the cluster anew beside the old one.

A new target is taken for usable after an overlap, whether or not its probes pass: the control plane does not see them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

from xds_server.resolvers import Found
from xds_server.upstreams.model import ActiveHealthCheck, Target, Upstream
from xds_server.upstreams.translate import (
    Addresses,
    Host,
    eds_name,
    enabled_hosts,
    envoy_resolves,
    is_enabled,
    places_of,
)

MARGIN: Final = timedelta(seconds=1)
"""For the change to arrive and the first probe to be sent."""
LONGEST: Final = timedelta(seconds=10)
POLLED: Final = timedelta(seconds=12)
"""Where Envoys poll, every 5 s to 10 s: what comes and goes in between they would never see."""

Place = tuple[str, int]
"""Address and port of an endpoint, by which Envoy knows it."""


def length(active: ActiveHealthCheck, *, polled: bool = False) -> float:
    """Seconds in which a new target's first probe ends, well or not. `polled`: for Envoys that poll, too."""
    probed = min(active.timeout + MARGIN, LONGEST)
    return (max(probed, POLLED) if polled else probed).total_seconds()


class Said(Protocol):
    """Says what an upstream was. It may be made when it is asked for: most are never asked."""

    @property
    def value(self) -> Upstream: ...


class Plainly(NamedTuple):
    """An upstream that is there."""

    value: Upstream


@dataclass(frozen=True, slots=True)
class History:
    """What the next change of an upstream with active checks is compared with."""

    said: Said
    addresses: Addresses
    """Of its own host names, as they were then."""
    since: Mapping[Place, float] = field(default_factory=dict)
    """When its newer endpoints came; those that are not in it are old."""
    kept: Mapping[Place, Host] = field(default_factory=dict)
    """What is served beyond the definition."""

    @property
    def upstream(self) -> Upstream:
        """As it was then."""
        return self.said.value


class Plan(NamedTuple):
    """What to serve of an upstream."""

    upstream: Upstream
    """With the targets that are kept."""
    addresses: Addresses
    """With the addresses that are kept."""
    history: History | None
    """To be given with the next change, once this one is served. None where no overlap is ever needed."""
    until: float | None
    """When to plan anew, though nothing changes."""
    is_unserved: bool = False
    """Whether requests fail while no new target has passed its first probe: what could have stayed was taken out by hand."""


def plan(before: History | None, upstream: Upstream, addresses: Addresses, now: float, *, polled: bool = False) -> Plan:
    """What to serve of `upstream` at `now`, in seconds of any one clock. `before`: of what is served; None for nothing."""
    active = upstream.health_checks.active
    if active is None or envoy_resolves(upstream):
        return Plan(upstream, addresses, None, None)
    own = {t.lookup: tuple(addresses.get(t.lookup, ())) for t in upstream.targets if t.needs_resolving}
    if before is None or eds_name(before.upstream) != eds_name(upstream):
        return Plan(upstream, addresses, History(Plainly(upstream), own), None)
    former = before.upstream
    new_for = length(active, polled=polled)
    serving, served = enabled_hosts(upstream, own), enabled_hosts(former, before.addresses)
    known = {**before.kept, **served}
    came = {place: before.since.get(place) if place in known else now for place in {**known, **serving}}
    since = {place: at for place, at in came.items() if at is not None and at + new_for > now}
    gone = _not_by_hand({place: host for place, host in known.items() if place not in serving}, upstream, own)
    usable = _usable(serving, since)
    kept = _needed(gone, serving, usable)
    proven = known.keys() - since.keys()
    # With send-all Envoy sends to targets that were not probed yet where it has no others.
    unserved = bool(serving and proven) and not (usable or upstream.sends_to_all_when_unhealthy)
    plain = Plan(upstream, addresses, History(Plainly(upstream), own, since), None, unserved)
    if not kept:
        return plain
    with_kept = _with_targets(upstream, [host.target for host in kept.values()])
    if eds_name(with_kept) != eds_name(upstream):
        return plain
    until = min(at for place, at in since.items() if place in serving) + new_for
    return Plan(with_kept, _with_addresses(addresses, own, kept), History(Plainly(upstream), own, since, kept), until)


def leaves_unserved(before: Upstream, after: Upstream) -> bool:
    """`Plan.is_unserved` of an edit, as far as targets given by address are concerned."""
    return before.health_checks.active is not None and plan(History(Plainly(before), {}), after, {}, 0).is_unserved


def _usable(serving: Mapping[Place, Host], since: Mapping[Place, float]) -> set[tuple[int, int]]:
    """Priorities in which not everything is new."""
    return {h.priority for place, h in serving.items() if place not in since or h.target.health_check.disabled}


def _needed(
    gone: Mapping[Place, Host], serving: Mapping[Place, Host], usable: set[tuple[int, int]]
) -> dict[Place, Host]:
    """Of what is gone, that of priorities in which everything is new; all of it where no priority has anything else."""
    waiting = {host.priority for host in serving.values()} - usable
    return {place: host for place, host in gone.items() if host.priority in waiting or (waiting and not usable)}


def _not_by_hand(gone: dict[Place, Host], upstream: Upstream, own: Addresses) -> dict[Place, Host]:
    """Without what the definition still has, and takes out."""
    out = [target for target in upstream.targets if not is_enabled(target)]
    keys = {target.key for target in out}
    places = {(host.address, host.port) for target in out for host in places_of(upstream, target, own)}
    return {place: host for place, host in gone.items() if place not in places and host.target.key not in keys}


def _with_targets(upstream: Upstream, kept: list[Target]) -> Upstream:
    there = {target.key for target in upstream.targets}
    missing = {target.key: target for target in kept if target.key not in there}
    return upstream.model_copy(update={"targets": (*upstream.targets, *missing.values())}) if missing else upstream


def _with_addresses(addresses: Addresses, own: Addresses, kept: Mapping[Place, Host]) -> Addresses:
    """A target by host name keeps its name, which its endpoints carry: only the addresses of the name are added to."""
    more: dict[str, list[Found]] = {}
    for host in kept.values():
        if host.target.needs_resolving:
            there = more.setdefault(host.target.lookup, [*own.get(host.target.lookup, ())])
            if host.found not in there:
                there.append(host.found)
    return {**addresses, **more} if more else addresses
