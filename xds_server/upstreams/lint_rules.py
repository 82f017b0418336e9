"""The lints that one upstream alone gives rise to: one function for each, or for a few that share what they look at."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from xds_server.upstreams.model import HASHING, Problem, Target, Upstream, format_duration
from xds_server.upstreams.model.base import Location

_PASSIVE: Final = ("health_checks", "passive")
_PERCENT: Final = (*_PASSIVE, "max_ejection_percent")
_MOST_TIMED_OUT: Final = 50
"""Percent: each request that times out counts as a connection that was opened, too."""


class Said(NamedTuple):
    """What a rule says of an upstream."""

    location: Location
    """Inside the upstream; of a field that is not written, its nearest parent's line is shown."""
    code: str
    """Names the rule, for filters and for searching."""
    message: str
    """What will happen, and why."""
    fix: str
    """What to do instead."""


class Lint(NamedTuple):
    """Something legal that will surprise."""

    upstream: str
    location: Location
    code: str
    message: str
    fix: str

    @property
    def field(self) -> str:
        """The location as users write it, for example ``targets[2].priority``."""
        return Problem(self.location, "").field

    def __str__(self) -> str:
        return f"{self.message}; {self.fix} [{self.code}]"


def probed_targets(upstream: Upstream) -> list[Target]:
    """The targets that active checks would probe."""
    return [t for t in upstream.targets if t.state != "disabled" and not t.health_check.disabled]


def _enabled(upstream: Upstream) -> dict[int, Target]:
    """Targets that were not taken out by hand, by index."""
    return {index: t for index, t in enumerate(upstream.targets) if _is_enabled(t)}


def _is_enabled(target: Target) -> bool:
    return target.state == "enabled" and target.weight > 0


def _hosts(upstream: Upstream) -> int | None:
    """How many targets Envoy has; None where only DNS knows."""
    if upstream.sends_to_all_when_unhealthy:  # what was taken out by hand is left out then
        sent = [*_enabled(upstream).values()]
    else:
        sent = [target for target in upstream.targets if target.state != "disabled"]
    return None if any(target.needs_resolving for target in sent) else len(sent)


def _ejection_percent(upstream: Upstream) -> int:
    checks = upstream.health_checks
    overridden = _override(upstream, "outlier_detection", "max_ejection_percent")
    if isinstance(overridden, int):
        return overridden
    written = checks.passive.max_ejection_percent if checks.passive else None
    return written if written is not None else 100 if checks.active is None else 50


def _override(upstream: Upstream, *path: str) -> Any:
    """What `envoy:` says at a path, in either spelling of its fields; None for nothing."""
    here: Any = upstream.envoy
    for name in path:
        head, *rest = name.split("_")
        spellings = (name, head + "".join(word.title() for word in rest))
        here = next((here[key] for key in spellings if key in here), None) if isinstance(here, Mapping) else None
    return here


def _nothing_to_send_to(upstream: Upstream) -> Iterator[Said]:
    if upstream.targets and not any(map(_is_enabled, upstream.targets)):
        message = "every target is taken out by hand, by its state or weight 0: requests are answered 503"
        yield Said(("targets",), "no-enabled-target", message, "enable one, or write targets: [] if that is meant")


def _failover(upstream: Upstream) -> Iterator[Said]:
    if len({target.priority for target in upstream.targets}) < 2:
        return
    enabled = _enabled(upstream)
    priorities = Counter(target.priority for target in enabled.values())
    if len(priorities) < 2:
        return
    first = min(priorities)
    checks = upstream.health_checks
    if checks.active is None and checks.passive is None:
        index, backup = next((index, target) for index, target in enabled.items() if target.priority > first)
        yield Said(
            ("targets", index, "priority"),
            "failover-without-checks",
            f"priority {backup.priority} takes over when Envoy sees those before it fail, and without checks it never does",
            "add health_checks.active or health_checks.passive",
        )
    if checks.active is None and checks.passive is not None and upstream.failover == "all-down":
        hosts, percent = _hosts(upstream), _ejection_percent(upstream)
        most = None if hosts is None else hosts * percent // 100
        if most and most < priorities[first]:
            yield Said(
                _PERCENT,
                "failover-out-of-reach",
                f"the next priority takes over when all {priorities[first]} targets of priority {first} are ejected, "
                f"and at most {most} of {hosts} ever are",
                "write max_ejection_percent: 100, or failover: proportional",
            )


def _ejection(upstream: Upstream) -> Iterator[Said]:
    passive = upstream.health_checks.passive
    if passive is None or not upstream.targets:
        return
    hosts, percent = _hosts(upstream), _ejection_percent(upstream)
    if percent == 0 or (hosts and hosts * percent < 100):
        share = (
            f"{percent} % of {hosts} target(s) is less than one" if hosts else f"{percent} % of the targets are none"
        )
        fix = (
            f"write max_ejection_percent: {-(-100 // hosts)} or more"
            if hosts and hosts > 1
            else "leave passive checks out"
        )
        yield Said(_PERCENT, "ejection-never", f"{share}: none is ever ejected", fix)
    elif percent == 100 and not upstream.sends_to_all_when_unhealthy:
        how_long = format_duration(passive.ejection_time)
        yield Said(
            _PERCENT,
            "one-bad-url",
            f"a single URL that fails on every target can have all of them ejected: every request is then 503 for {how_long}",
            "write on_all_unhealthy: send-all, or a max_ejection_percent of 50",
        )
    elif hosts and hosts - hosts * percent // 100 == 1 and not upstream.sends_to_all_when_unhealthy:
        if upstream.health_checks.active is not None:
            message = f"while one of {hosts} targets fails its probes, all others may be ejected: requests are then 503"
            yield Said(_PERCENT, "last-target-ejected", message, "write on_all_unhealthy: send-all, or add a target")
    elif hosts == 1:
        message = "the only target may be ejected, but is used all the same when all are: passive checks change nothing"
        yield Said(
            _PASSIVE, "ejection-of-the-only-target", message, "leave passive checks out until there is a second target"
        )


def _timeouts(upstream: Upstream) -> Iterator[Said]:
    passive = upstream.health_checks.passive
    if (
        passive is None
        or passive.consecutive_local_errors is None
        or passive.success_rate
        or upstream.protocol == "tcp"
    ):
        return
    shares = passive.failure_percentage
    if shares is None or shares.threshold > _MOST_TIMED_OUT:
        yield Said(
            (*_PASSIVE, "consecutive_local_errors"),
            "timeouts-uncounted",
            "with connections counted apart, requests that time out or whose connection breaks eject no target: they are in no "
            f"count, and {_MOST_TIMED_OUT} % at most of what failure_percentage sees",
            f"write failure_percentage with a threshold of {_MOST_TIMED_OUT} or less, or leave consecutive_local_errors out",
        )


def _panic(upstream: Upstream) -> Iterator[Said]:
    is_early = upstream.sends_to_all_when_unhealthy and upstream.failover == "proportional"
    if is_early and (hosts := _hosts(upstream)) and hosts > 100:
        yield Said(
            ("on_all_unhealthy",) if upstream.on_all_unhealthy else ("failover",),
            "panic-too-early",
            f"with failover: proportional, send-all begins below 1 % healthy: with 1 of {hosts} targets healthy, not with none",
            "write failover: all-down, or on_all_unhealthy: fail",
        )
    if _override(upstream, "outlier_detection", "always_eject_one_host") is True and not (
        upstream.sends_to_all_when_unhealthy
    ):
        yield Said(
            ("envoy", "outlier_detection", "always_eject_one_host"),
            "one-bad-url",
            "always_eject_one_host ejects an only target too: one failing URL then has every request answered by 503",
            "leave it out, or write on_all_unhealthy: send-all",
        )


def _weights(upstream: Upstream) -> Iterator[Said]:
    if len({target.priority for target in upstream.targets}) < 2:
        return
    enabled = _enabled(upstream)
    by_priority: dict[int, set[int]] = {}
    for target in enabled.values():
        by_priority.setdefault(target.priority, set()).add(target.weight)
    weights = set().union(*by_priority.values())
    if len(weights) > 1 and all(len(each) == 1 for each in by_priority.values()):
        index = next(index for index, target in enabled.items() if target.weight > 1)
        message = "weights share requests among targets of one priority, and here they differ between priorities only"
        yield Said(
            ("targets", index, "weight"), "weights-across-priorities", message, "leave them out: they change nothing"
        )


def _ignored(upstream: Upstream) -> Iterator[Said]:
    if upstream.hash_on and upstream.algorithm not in HASHING:
        message = f"{upstream.algorithm} hashes nothing: hash_on is ignored"
        yield Said(("hash_on",), "hash-on-ignored", message, "write algorithm: ring-hash or maglev, or leave it out")
    if upstream.health_checks.active is not None:
        return
    if own := [index for index, target in enumerate(upstream.targets) if target.is_probed_otherwise]:
        more = f" (and of {len(own) - 1} more target(s))" if len(own) > 1 else ""
        message = f"there are no active checks: what differs for this target's probes{more} is ignored"
        yield Said(
            ("targets", own[0], "health_check"), "probe-ignored", message, "add health_checks.active, or leave it out"
        )


def _limits(upstream: Upstream) -> Iterator[Said]:
    limits = upstream.limits
    if limits.max_pending_requests == 0 and upstream.protocol == "http1":
        message = "no request may wait, not even for its connection to be opened: with http1 every request fails"
        yield Said(("limits", "max_pending_requests"), "no-pending-requests", message, "write 1 or more")
    most = limits.max_connections
    if most is not None and upstream.protocol != "tcp" and most < (enabled := len(_enabled(upstream))):
        message = f"each target has one connection whatever the limit: each Envoy opens {enabled}, not {most}"
        fix = f"write {enabled} or more, or limit requests instead: max_requests" + (": 0 lets none pass" * (most == 0))
        yield Said(("limits", "max_connections"), "connections-below-targets", message, fix)


RULES: Final[tuple[Callable[[Upstream], Iterator[Said]], ...]] = (
    _nothing_to_send_to,
    _failover,
    _ejection,
    _timeouts,
    _panic,
    _weights,
    _ignored,
    _limits,
)
