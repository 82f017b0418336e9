"""How the host names of an upstream's targets are resolved."""

from datetime import timedelta
from typing import Literal

from pydantic import StrictBool

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import Duration, RefreshTime


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
    """true: the one target is one endpoint, whatever addresses its name has: Envoy connects to the first one, and keeps
    connections that it has when the answer changes. For the name of a cloud load balancer. Needs `resolve: envoy`.
    Default: false. Envoy: `DnsCluster.all_addresses_in_single_endpoint` (LOGICAL_DNS)."""
