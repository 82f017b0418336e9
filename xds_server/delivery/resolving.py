"""What has to be resolved for an upstream, and what is known of it."""

from collections.abc import Mapping, Sequence

from xds_server.resolvers import Found, Question
from xds_server.upstreams.model import Target, Upstream
from xds_server.upstreams.translate import Addresses

Resolved = Mapping[Question, Sequence[Found]]
"""What the control plane resolved."""


def questions(upstream: Upstream) -> dict[str, Question]:
    """What the control plane asks for an upstream's targets, by `Target.lookup`."""
    if upstream.resolve == "envoy":
        return {}
    return {target.lookup: _question(upstream, target) for target in upstream.targets if target.needs_resolving}


def addresses_of(upstream: Upstream, resolved: Resolved) -> Addresses:
    """What is known of an upstream's targets."""
    asked = questions(upstream)
    return {lookup: resolved[question] for lookup, question in asked.items() if question in resolved}


def _question(upstream: Upstream, target: Target) -> Question:
    dns = upstream.dns
    linger, min_ttl = dns.linger.total_seconds(), dns.min_ttl.total_seconds()
    return Question(target.host, target.is_srv, dns.family, linger, min_ttl)
