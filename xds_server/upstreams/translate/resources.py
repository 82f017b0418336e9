"""Translated definitions as xDS resources: named, versioned by content and encoded once."""

from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.translate.cluster import cluster
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.endpoints import Addresses, Encoded, assignment, encoded, envoy_resolves
from xds_server.upstreams.translate.listener import listener
from xds_server.upstreams.translate.localities import Place, nearest_first
from xds_server.upstreams.translate.secrets import HeldSecrets, secrets
from xds_server.xds.resource import ENDPOINTS, Resource
from xds_server.xds.validation import Violation, check


def cluster_resource(upstream: Upstream, dialect: Dialect = Dialect.ADS) -> Resource:
    """The upstream's Cluster. Raises `OverrideError` when its `envoy:` field cannot be applied."""
    return Resource.of(cluster(upstream, dialect))


def endpoints_resource(upstream: Upstream, addresses: Addresses, cluster: Resource) -> Resource | None:
    """The upstream's assignment, or None where Envoy resolves the names.

    `cluster`: the upstream's own, in the dialect of those that ask. The version changes with it, so that an Envoy that
    rebuilds the cluster is sent its endpoints again. Nothing else of an assignment depends on the dialect.
    """
    made = encoded_resource(upstream, addresses, cluster)
    return made[0] if made is not None else None


def encoded_resource(
    upstream: Upstream, addresses: Addresses, cluster: Resource, before: Encoded | None = None
) -> tuple[Resource, Encoded] | None:
    """As `endpoints_resource`, with what the next change of the upstream takes from it. `before`: see `encoded`; what is taken
    from there is not checked again."""
    if envoy_resolves(upstream):
        return None
    wrong: list[Violation] = []

    def inspect(message: Any) -> None:
        wrong.extend(check(message))

    found = encoded(upstream, addresses, before, inspect)
    message = assignment(upstream, found, inspect=inspect)
    if wrong:  # and where, only the whole message tells
        return Resource.of(message, covers=[cluster.version]), found
    body = message.SerializeToString(deterministic=True)
    return Resource.encode(ENDPOINTS, message.cluster_name, body, covers=[cluster.version]), found


def endpoints_near(assignment: Resource, place: Place) -> Resource:
    """An upstream's assignment with the nearest first, for those at `place`. What it covers, this one covers too."""
    message = nearest_first(endpoint_pb2.ClusterLoadAssignment.FromString(assignment.body), place)
    body = message.SerializeToString(deterministic=True)
    return Resource.encode(ENDPOINTS, assignment.name, body, covers=[assignment.version])


def listener_resource(gateway: Gateway, dialect: Dialect = Dialect.ADS) -> Resource:
    """The gateway's Listener."""
    return Resource.of(listener(gateway, dialect))


def secret_resources(upstream: Upstream, held: HeldSecrets) -> list[Resource]:
    """The upstream's Secrets: see `secrets`."""
    return [Resource.of(secret) for secret in secrets(upstream, held)]
