"""What a definition means at a moment: a drain that has a deadline ends by it. Pure: the time is an argument.

Equal definitions at equal times mean the same, on every replica and after every restart.
"""

from datetime import datetime

from xds_server.upstreams.model import Target, Upstream


def as_of(upstream: Upstream, now: datetime) -> Upstream:
    """The upstream with every target disabled whose `drain_until` has come; the same object where there is none."""
    if not any(_has_passed(target, now) for target in upstream.targets):
        return upstream
    targets = tuple(_disabled(target) if _has_passed(target, now) else target for target in upstream.targets)
    return upstream.model_copy(update={"targets": targets})


def next_deadline(upstream: Upstream, now: datetime) -> datetime | None:
    """When the upstream next means something else; None for never."""
    return min((t.drain_until for t in upstream.targets if t.drain_until and t.drain_until > now), default=None)


def _has_passed(target: Target, now: datetime) -> bool:
    return target.drain_until is not None and target.drain_until <= now


def _disabled(target: Target) -> Target:
    return target.model_copy(update={"state": "disabled", "drain_until": None})
