"""The lints that need to know what name servers answer. Pure: the answers are given."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from xds_server.resolvers import Answer, SrvAddress
from xds_server.resolvers.public import is_public_and_short
from xds_server.upstreams.lint_rules import Lint, Said
from xds_server.upstreams.model import EQUAL_SHARES, Upstream, format_duration

Answers = Mapping[str, Answer]
"""`Target.lookup` -> what name servers said; empty where nothing was learned."""


def lint_names(upstream: Upstream, answers: Answers) -> list[Lint]:
    """What can be said of an upstream whose host names were resolved."""
    return [Lint(upstream.name, *said) for rule in RULES for said in rule(upstream, answers)]


def _short_ttl(upstream: Upstream, answers: Answers) -> Iterator[Said]:
    if upstream.resolve == "envoy" or any(target.is_srv for target in upstream.targets):
        return  # Envoy cannot ask for SRV records
    for index, target in enumerate(upstream.targets):
        answer = answers.get(target.lookup) if target.needs_resolving else None
        if answer is not None and is_public_and_short(answer):
            yield Said(
                ("targets", index, "host"),
                "short-ttl",
                f"public DNS says of {target.host} for {answer.ttl:g} s only: each of its changes goes to all Envoys, "
                f"and an address that it takes away stays for {format_duration(upstream.dns.linger)}",
                "have each Envoy follow it by itself: resolve: envoy (with dns.logical: true for a load balancer's name)",
            )
            return


def _srv_weights(upstream: Upstream, answers: Answers) -> Iterator[Said]:
    if upstream.algorithm not in EQUAL_SHARES:
        return
    for index, target in enumerate(upstream.targets):
        answer = answers.get(target.lookup) if target.is_srv else None
        records = [found for found in answer.found if isinstance(found, SrvAddress)] if answer is not None else []
        weights: dict[int, set[int]] = {}
        for record in records:
            weights.setdefault(record.priority, set()).add(record.weight)
        if differing := next((each for each in weights.values() if len(each) > 1), None):
            yield Said(
                ("targets", index, "port"),
                "srv-weights-ignored",
                f"{upstream.algorithm} shares equally: the weights of these SRV records ({_listed(differing)}) are ignored",
                "write algorithm: weighted-round-robin",
            )
            return


def _listed(weights: set[int]) -> str:
    return ", ".join(map(str, sorted(weights)))


RULES: Final[tuple[Callable[[Upstream, Answers], Iterator[Said]], ...]] = (_short_ttl, _srv_weights)
