"""What operators lay over single targets: records of their own, which survive every edit of the definition below. Pure."""

from collections.abc import Mapping
from operator import is_
from typing import NamedTuple, Self

from pydantic import model_validator

from xds_server.upstreams.model import (
    EQUAL_SHARES,
    Definition,
    Problem,
    Target,
    Upstream,
    reject,
    weight_contradictions,
)
from xds_server.upstreams.model.scalars import Instant, Weight
from xds_server.upstreams.model.target import TargetState


class TargetOverride(Definition):
    """What an operator says about one target, over what its definition says."""

    state: TargetState | None = None
    """enabled, draining, disabled or unhealthy. Default: what the definition says."""
    drain_until: Instant | None = None
    """Only with `state: draining`: from this time on the target counts as disabled. Default: no end."""
    weight: Weight | None = None
    """Share of traffic, 0 to 1,000,000. Default: what the definition says."""
    expires: Instant | None = None
    """When this override is taken away, and the definition alone counts again (RFC 3339). Default: never."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drain_until is not None and self.state != "draining":
            reject([Problem(("drain_until",), "drain_until has no meaning without state: draining", (("state",),))])
        return self

    @property
    def says_anything(self) -> bool:
        """Whether it changes a target at all."""
        return self.state is not None or self.weight is not None


def override_name(upstream: str, target: str) -> str:
    """Name of the record about one target (its ``host:port``)."""
    return f"{upstream}/{target}"


def split_name(name: str) -> tuple[str, str]:
    """The upstream and the target that an override's name is made of."""
    upstream, _, target = name.partition("/")
    return upstream, target


class Laid(NamedTuple):
    """Overrides that were laid over an upstream."""

    upstream: Upstream
    """The one below."""
    overrides: Mapping[str, TargetOverride]
    """Those that count, by target."""
    whole: Upstream
    """What it is with them; the one below where they change nothing."""


def overridden(upstream: Upstream, overrides: Mapping[str, TargetOverride]) -> Upstream:
    """`upstream` with `overrides` (by target) laid over it; the same object where they change nothing."""
    return lay(upstream, overrides).whole


def lay(upstream: Upstream, overrides: Mapping[str, TargetOverride], before: Laid | None = None) -> Laid:
    """Lay `overrides` (by target) over `upstream`. `before`: what was made of it earlier; targets of which the same is said
    as then are the same objects, and cost nothing.

    Overrides of targets that it does not have wait for these. A weight that its algorithm cannot have, as another one was
    written since, is left out: `impossible` says so.
    """
    if impossible(upstream, overrides):
        overrides = {key: each.model_copy(update={"weight": None}) for key, each in overrides.items()}
    known = before if before is not None and before.upstream is upstream else Laid(upstream, {}, upstream)
    return Laid(upstream, overrides, _with(known, overrides))


def impossible(upstream: Upstream, overrides: Mapping[str, TargetOverride]) -> list[Problem]:
    """Why `overrides` cannot all be had over `upstream`; locations begin in the upstream."""
    said = {key: each.weight for key, each in overrides.items() if each.weight is not None}
    if not said or upstream.algorithm not in EQUAL_SHARES:
        return []  # no state contradicts anything else, and weights nothing but the algorithm
    weights = [said.get(target.key, target.weight) for target in upstream.targets]
    return [*weight_contradictions(upstream.algorithm, weights)]


def _with(before: Laid, overrides: Mapping[str, TargetOverride]) -> Upstream:
    """`before`, with these overrides in the place of its own."""
    old = before.overrides
    stale = {key for key in old.keys() | overrides.keys() if old.get(key) is not overrides.get(key)}
    if not stale:
        return before.whole
    below, targets = before.upstream.targets, [*before.whole.targets]
    for index, target in enumerate(below):
        if (key := target.key) in stale:
            targets[index] = _over(target, overrides.get(key))
    if all(map(is_, targets, below)):
        return before.upstream
    return before.upstream.model_copy(update={"targets": tuple(targets)})


def _over(target: Target, override: TargetOverride | None) -> Target:
    if override is None or not override.says_anything:
        return target
    said: dict[str, object] = {}
    if override.state is not None:
        said |= {"state": override.state, "drain_until": override.drain_until}
    if override.weight is not None:
        said["weight"] = override.weight
    return target.model_copy(update=said)
