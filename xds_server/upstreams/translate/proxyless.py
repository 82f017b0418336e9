"""An upstream for gRPC clients that balance for themselves (`xds:///NAME`), without an Envoy in between.

What gRPC takes is a small part of what Envoy takes, and it refuses what it does not know. So these resources are made from
the definition, not from the Envoy resources, and they are the least that gRPC accepts (A27, conformance R10 to R13):
Listener -> RouteConfiguration -> Cluster -> ClusterLoadAssignment, each asked for by its name.

Names: a Listener for the upstream's name and one for each exact entry of `hostnames`, all in lower case and without a port,
as clients write them behind `xds:///` (R2); the other three carry the upstream's name. Names of federation (`xdstp:`) and
Listeners for gRPC servers are not made.

What a definition says and gRPC cannot do is served as the nearest that gRPC can, with a warning (`proxyless_warnings`).
Where nothing near exists there is no result but a `ProxylessError`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.endpoints import Addresses, envoy_resolves
from xds_server.upstreams.translate.localities import without_emptied
from xds_server.upstreams.translate.proxyless_cluster import proxyless_cluster
from xds_server.upstreams.translate.proxyless_endpoints import proxyless_endpoints
from xds_server.upstreams.translate.proxyless_routes import proxyless_listener, proxyless_routes
from xds_server.upstreams.translate.proxyless_warnings import proxyless_warnings
from xds_server.xds.resource import Resource


class ProxylessError(Exception):
    """An upstream that gRPC clients cannot be given. The text is ``field: reason, and what to do``."""


class ProxylessResult(NamedTuple):
    """What gRPC clients are served for one upstream."""

    resources: tuple[Resource, ...]
    warnings: tuple[str, ...]
    """What they are not: ``field: what happens instead``, in the order of the definition's fields."""


def proxyless_resources(upstream: Upstream, addresses: Addresses) -> ProxylessResult:
    """The upstream's resources for gRPC clients, checked against Envoy's field rules.

    `addresses`: see `Addresses`; a target by host name that is not in it is left out. The assignment exists even when no
    target is left, as clients wait for it otherwise. `envoy:` is not applied. Raises ProxylessError.
    """
    upstream = without_emptied(upstream)
    for problem in _problems(upstream):
        raise ProxylessError(problem)
    messages = [
        *(proxyless_listener(name, upstream) for name in listener_names(upstream)),
        proxyless_routes(upstream),
        proxyless_cluster(upstream),
    ]
    if (assignment := proxyless_endpoints(upstream, addresses)) is not None:
        messages.append(assignment)
    return ProxylessResult(tuple(map(Resource.of, messages)), tuple(proxyless_warnings(upstream)))


def listener_names(upstream: Upstream) -> tuple[str, ...]:
    """The names that clients may write behind `xds:///`: no wildcards, as gRPC asks for exact names only."""
    return tuple(name for name in upstream.virtual_hosts if not name.startswith("*."))


def _problems(upstream: Upstream) -> Iterator[str]:
    if upstream.protocol == "tcp":
        yield "protocol: gRPC clients send RPCs only, not plain TCP: use http2, or give this upstream to Envoys alone (nodes)"
    if upstream.tls is not None:
        yield (
            "tls: gRPC clients with insecure credentials would send plaintext to these targets: have them go through an "
            "Envoy, or give them an upstream of their own whose targets take plaintext"
        )
    if upstream.proxy_protocol is not None:
        yield (
            "proxy_protocol: gRPC clients connect without the PROXY protocol, which these targets wait for: have them go "
            "through an Envoy, or give them an upstream of their own"
        )
    if envoy_resolves(upstream) and len(upstream.targets) > 1:
        yield (
            "resolve: a gRPC client resolves the host name of a single target only, and this upstream has "
            f"{len(upstream.targets)}: use resolve: control-plane"
        )
