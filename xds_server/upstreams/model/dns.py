"""How the host names of an upstream's targets are resolved."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import StrictBool

from xds_server.upstreams.model.base import Definition, Problem
from xds_server.upstreams.model.scalars import Duration, RefreshTime
from xds_server.upstreams.model.target import Target


class Dns(Definition):
    """How targets given by host name are resolved, each anew when the TTL of its answer runs out, after 5m at most.

    A failure, an unknown name and an empty answer leave what the control plane knew.
    """

    family: Literal["v4-preferred", "v4", "v6", "all"] = "v4-preferred"
    """Which addresses of a name are used: v4-preferred takes IPv6 only where there is no IPv4. Default: v4-preferred.
    Envoy: `DnsCluster.dns_lookup_family`."""
    min_ttl: RefreshTime = timedelta(seconds=5)
    """Time after which a name is asked again at the earliest, whatever its TTL; and after a failure. Not with
    `resolve: envoy`, which follows the TTL. Default: 5s."""
    linger: Duration = timedelta(minutes=5)
    """Time that an address stays after it left the answer, or for the answer's TTL where that is longer, because load
    balancers answer with some of their addresses, others each time; 0s: it leaves at once, which suits names whose
    answers are complete. SRV records linger only while others of their priority are there. Not with `resolve: envoy`.
    Default: 5m."""
    logical: StrictBool = False
    """true: the one target is one endpoint, whatever addresses its name has: Envoy connects to the first of the last answer,
    and goes on with that when the name does not exist any more. For the name of a cloud load balancer. Needs
    `resolve: envoy`.
    Default: false. Envoy: `DnsCluster.all_addresses_in_single_endpoint` (LOGICAL_DNS)."""


def unresolvable(dns: Dns, resolve: str, targets: Sequence[Target]) -> Iterator[Problem]:
    """What an upstream says about resolving that cannot all be meant."""
    for index, target in enumerate(targets):
        here = ("targets", index, "port")
        if target.is_srv and not target.needs_resolving:
            message = "only a host name has SRV records: write its port, or a name"
            yield Problem(here, message, (("targets", index, "host"),))
        elif target.is_srv and resolve == "envoy":
            yield Problem(here, "Envoy does not ask for SRV records: use resolve: control-plane", (("resolve",),))
    if resolve == "envoy":
        for field in sorted({"min_ttl", "linger"} & dns.model_fields_set):
            message = f"{field} is about names that the control plane resolves, but resolve is envoy"
            yield Problem(("dns", field), message, (("resolve",),))
    if dns.logical:
        if resolve != "envoy":
            yield Problem(("dns", "logical"), "logical needs resolve: envoy", (("resolve",),))
        elif len(targets) != 1 or not targets[0].needs_resolving:
            message = f"logical is for exactly one target, given by host name, and there are {len(targets)}"
            if len(targets) == 1:
                message = "logical is for a target given by host name, and this one is an address"
            yield Problem(("dns", "logical"), message, (("targets",),))
