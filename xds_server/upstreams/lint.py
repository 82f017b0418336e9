"""What is legal in definitions and will surprise: each with its reason and what to do about it. Pure: models in, lints out.

Rules for one upstream are in `lint_rules`; here are those that need to see several, or the fleet. A rule is a function in
`RULES` or `TOGETHER`. What is an error never comes here: the model refuses it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from xds_server.upstreams.lint_rules import RULES, Lint, probed_targets
from xds_server.upstreams.model import ActiveHealthCheck, Limits, Upstream, may_share_envoy

__all__ = ["MOST_PROBES", "RULES", "TOGETHER", "Lint", "lint", "lint_one", "lint_together"]

Envoys = Callable[[Upstream], int]
"""How many Envoys receive an upstream, at least 1."""
MOST_PROBES: Final = 1_000
"""Probes per second of the whole fleet above which there is a lint."""


def lint(upstreams: Iterable[Upstream], *, envoys: int = 1) -> list[Lint]:
    """Everything about `upstreams`, in their order. `envoys`: how many receive them."""
    upstreams = list(upstreams)
    together = lint_together(upstreams, lambda _: envoys)
    found = [*(each for upstream in upstreams for each in lint_one(upstream)), *together]
    place = {upstream.name: index for index, upstream in enumerate(upstreams)}
    return sorted(found, key=lambda each: place[each.upstream])


def lint_one(upstream: Upstream) -> list[Lint]:
    """What can be said of one upstream alone."""
    return [Lint(upstream.name, *said) for rule in RULES for said in rule(upstream)]


def lint_together(upstreams: Sequence[Upstream], envoys: Envoys) -> list[Lint]:
    """What only shows when all definitions and the number of Envoys are known."""
    return [each for rule in TOGETHER for each in rule(upstreams, envoys)]


def _probed_differently(upstreams: Sequence[Upstream], _: Envoys) -> Iterator[Lint]:
    first: dict[str, list[tuple[Upstream, ActiveHealthCheck]]] = {}
    for upstream in upstreams:
        active = upstream.health_checks.active
        if active is None:
            continue
        told = False
        for index, target in enumerate(upstream.targets):
            others = first.setdefault(target.key, [])
            differing = (
                other.name
                for other, check in others
                if check != active and may_share_envoy(other.nodes, upstream.nodes)
            )
            if not told and (other := next(differing, None)) is not None:
                told = True
                yield Lint(
                    upstream.name,
                    ("targets", index),
                    "probed-differently",
                    f"{target.key} is probed otherwise for upstream {other!r}: up for one may be down for the other",
                    "give both the same health_checks.active",
                )
            if len(others) < 10:  # enough to find a difference, whatever many upstreams share a target
                others.append((upstream, active))


def _too_many_probes(upstreams: Sequence[Upstream], envoys: Envoys) -> Iterator[Lint]:
    checked = [upstream for upstream in upstreams if upstream.health_checks.active is not None]
    counts = {upstream.name: envoys(upstream) for upstream in checked}
    rates = {upstream.name: _probes(upstream) * counts[upstream.name] for upstream in checked}
    total = sum(rates.values())
    if total <= MOST_PROBES:
        return
    most = max(rates, key=lambda name: rates[name])
    yield Lint(
        most,
        ("health_checks", "active", "interval"),
        "many-probes",
        f"{max(counts.values())} Envoy(s) would send {total:,.0f} probes per second in all, "
        f"{rates[most]:,.0f} of them for this upstream",
        f"lengthen intervals until there are fewer than {MOST_PROBES:,}, or have fewer Envoys receive it (nodes)",
    )


def _probes(upstream: Upstream) -> float:
    """Probes per second that one Envoy sends."""
    active = upstream.health_checks.active
    return len(probed_targets(upstream)) / active.interval.total_seconds() if active else 0.0


def _limits_of_a_fleet(upstreams: Sequence[Upstream], envoys: Envoys) -> Iterator[Lint]:
    for upstream in upstreams:
        given = {field: getattr(upstream.limits, field) for field in Limits.model_fields}
        limits = {field: limit for field, limit in given.items() if limit}
        count = envoys(upstream) if limits else 1
        if count > 1:
            products = [f"{field} {limit * count:,}" for field, limit in limits.items()]
            yield Lint(
                upstream.name,
                ("limits",),
                "limits-per-envoy",
                f"limits count in each Envoy for itself: {count} Envoys together allow {', '.join(products)}",
                "divide what the targets can take by the number of Envoys",
            )


TOGETHER: Final[tuple[Callable[[Sequence[Upstream], Envoys], Iterator[Lint]], ...]] = (
    _probed_differently,
    _too_many_probes,
    _limits_of_a_fleet,
)
