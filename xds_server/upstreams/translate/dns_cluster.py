"""Names that Envoy resolves: `clusters.dns.v3.DnsCluster`, whose endpoints are part of the Cluster."""

from collections.abc import Mapping
from typing import Any, Final

from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.endpoints import dns_endpoints
from xds_server.upstreams.translate.messages import packed

_FAMILIES: Final[Mapping[str, int]] = {
    "v4-preferred": dns_pb2.DnsLookupFamily.V4_PREFERRED,
    "v4": dns_pb2.DnsLookupFamily.V4_ONLY,
    "v6": dns_pb2.DnsLookupFamily.V6_ONLY,
    "all": dns_pb2.DnsLookupFamily.ALL,
}


def discover_by_dns(cluster: Any, upstream: Upstream) -> None:
    """Have Envoy resolve the names of a Cluster's targets itself, each as often as its TTL says."""
    assignment = dns_endpoints(upstream)
    dns = dns_cluster_pb2.DnsCluster(respect_dns_ttl=True, dns_lookup_family=_FAMILIES[upstream.dns.family])
    # Envoy refuses such a cluster without its endpoint, and so where the target is disabled.
    dns.all_addresses_in_single_endpoint = upstream.dns.logical and len(assignment.endpoints) == 1
    cluster.cluster_type.name = "envoy.clusters.dns"
    cluster.cluster_type.typed_config.CopyFrom(packed(dns))
    cluster.load_assignment.CopyFrom(assignment)
