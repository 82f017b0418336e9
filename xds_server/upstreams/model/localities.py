"""What the localities of targets mean for who gets requests, and what contradicts itself there."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, StrictInt

from xds_server.upstreams.model.base import Definition, Problem
from xds_server.upstreams.model.scalars import Weight
from xds_server.upstreams.model.target import Locality, Target

MOST_NEAREST_PRIORITIES: Final = 43
"""Each becomes three of Envoy's, which has 129."""


class LocalityWeight(Locality):
    """The share of one locality. It is the locality of the targets whose region, zone and sub_zone are exactly these."""

    weight: Weight
    """Share of traffic relative to the other localities of a priority, 0 to 1,000,000; 0 means no new traffic. Required.
    Envoy: `LocalityLbEndpoints.load_balancing_weight`."""


class Localities(Definition):
    """How requests are shared between localities. Without it, all targets of a priority are one pool."""

    balance: Literal["weighted", "zone-aware", "nearest"]
    """weighted: by `weights`; a locality's share shrinks once less than 72 % of its targets are healthy. zone-aware: each
    Envoy keeps to its own zone (of priority 0) as far as every target still gets an equal share; needs Envoys with
    `bootstrap --local-cluster`, and does nothing for others. nearest: each Envoy uses its own zone, then the rest of its
    region, then all others, by the locality in its bootstrap; the next takes over share by share, once less than 72 % of
    the targets before it are healthy. Required.
    Envoy: `locality_lb_config`; for nearest `LocalityLbEndpoints.priority`."""
    weights: Annotated[tuple[LocalityWeight, ...], Field(max_length=1000)] = ()
    """weighted: every locality that targets have, with its share. Default: none."""
    min_cluster_size: Annotated[StrictInt, Field(ge=1, le=4_294_967_295)] | None = None
    """zone-aware: with fewer healthy targets, zones do not matter. From 1. Default: 6.
    Envoy: `zone_aware_lb_config.min_cluster_size`."""


def locality_problems(
    localities: Localities, targets: Sequence[Target], *, algorithm: str, hashes: bool, failover: str, resolve: str
) -> Iterator[Problem]:
    """What of an upstream's fields cannot be meant together with its `localities`. `hashes`: the algorithm does."""
    balance = ("localities", "balance")
    if localities.weights and localities.balance != "weighted":
        yield Problem(("localities", "weights"), "weights belong to balance: weighted", (balance,))
    if localities.min_cluster_size is not None and localities.balance != "zone-aware":
        message = "min_cluster_size belongs to balance: zone-aware"
        yield Problem(("localities", "min_cluster_size"), message, (balance,))
    if localities.balance == "weighted":
        yield from _weighted(localities, targets, failover)
    elif localities.balance == "zone-aware":
        if hashes:
            message = f"Envoy has no zone-aware routing for {algorithm}: use weighted or nearest, or another algorithm"
            yield Problem(balance, message, (("algorithm",),))
    else:
        yield from _nearest(targets, failover, resolve)


def _weighted(localities: Localities, targets: Sequence[Target], failover: str) -> Iterator[Problem]:
    if failover == "all-down":
        message = (
            "locality weights need failover: proportional. With all-down, the default, a locality would keep its whole "
            "share until its last target is down"
        )
        yield Problem(("localities", "balance"), message, (("failover",),))
    first: dict[tuple[str, str, str], int] = {}
    for index, entry in enumerate(localities.weights):
        if (before := first.setdefault(entry.parts, index)) != index:
            message = f"{_shown(entry)} has a weight already"
            yield Problem(("localities", "weights", index), message, (("localities", "weights", before),))
    told = set(first)
    for index, target in enumerate(targets):
        if target.locality.parts not in told:
            told.add(target.locality.parts)
            message = f"{_shown(target.locality)} has no weight, and so no share: name it in localities.weights"
            yield Problem(("targets", index, "locality"), message, (("localities", "weights"),))


def _nearest(targets: Sequence[Target], failover: str, resolve: str) -> Iterator[Problem]:
    balance = ("localities", "balance")
    if resolve == "envoy":
        message = "nearest is made of the targets that each Envoy is sent, so names are resolved by the control-plane"
        yield Problem(("resolve",), message, (balance,))
    index_of = {target.priority: index for index, target in reversed([*enumerate(targets)])}
    if len(index_of) > MOST_NEAREST_PRIORITIES:
        message = (
            f"nearest makes three priorities of each, so there may be {MOST_NEAREST_PRIORITIES}, not {len(index_of)}"
        )
        yield Problem(balance, message, (("targets",),))
    if failover == "all-down" and len(index_of) > 1:
        one, other = sorted(index_of.values())[:2]
        message = (
            "nearest with several priorities needs failover: proportional. Envoy has one rule for all of them, and "
            "with all-down, the default, the last healthy target of a zone would get the requests of the whole zone"
        )
        about = (("failover",), ("targets", one, "priority"), ("targets", other, "priority"))
        yield Problem(balance, message, about)


def _shown(locality: Locality) -> str:
    parts = [
        f"{name}: {value}" for name, value in zip(("region", "zone", "sub_zone"), locality.parts, strict=True) if value
    ]
    return f"locality {{{', '.join(parts)}}}" if parts else "no locality in particular"
