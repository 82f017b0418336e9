"""What operators lay over single targets: records of their own, which survive every edit of the definition below. Pure."""

from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import model_validator

from xds_server.upstreams.model import Definition, Problem, Target, Upstream, reject
from xds_server.upstreams.model.scalars import Instant, Weight
from xds_server.upstreams.model.target import TargetState
from xds_server.upstreams.model.upstream import contradictions


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


def overridden(upstream: Upstream, overrides: Mapping[str, TargetOverride]) -> Upstream:
    """`upstream` with `overrides` (by target) laid over it; the same object where they change nothing.

    Overrides of targets that it does not have wait for these. A weight that its algorithm cannot have, as another one was
    written since, is left out: `impossible` says so.
    """
    if not any(target.key in overrides for target in upstream.targets):
        return upstream
    whole = _with(upstream, overrides)
    if not impossible(upstream, overrides):
        return whole
    return _with(upstream, {key: each.model_copy(update={"weight": None}) for key, each in overrides.items()})


def impossible(upstream: Upstream, overrides: Mapping[str, TargetOverride]) -> list[Problem]:
    """Why `overrides` cannot all be had over `upstream`; locations begin in the upstream."""
    # Each of both is sound by itself: only what is between fields can be wrong.
    return [*contradictions(_with(upstream, overrides))]


def _with(upstream: Upstream, overrides: Mapping[str, TargetOverride]) -> Upstream:
    targets = tuple(_over(target, overrides.get(target.key)) for target in upstream.targets)
    return upstream.model_copy(update={"targets": targets})


def _over(target: Target, override: TargetOverride | None) -> Target:
    if override is None:
        return target
    said: dict[str, object] = {}
    if override.state is not None:
        said |= {"state": override.state, "drain_until": override.drain_until}
    if override.weight is not None:
        said["weight"] = override.weight
    return target.model_copy(update=said)


def next_expiry(overrides: Iterable[TargetOverride]) -> Instant | None:
    """When the first of them expires; None for never."""
    return min((each.expires for each in overrides if each.expires is not None), default=None)
