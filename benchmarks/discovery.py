"""What a load client says and what it takes from an answer, for both variants of the protocol. No I/O.

A small answer is read whole. Of a large one, which only a first answer is, a stream that need not look closer takes the nonce
alone: reading 4 MB for each of 500 streams would be the load.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from envoy.service.discovery.v3 import discovery_pb2

from benchmarks.http2 import message

CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LARGE: Final = 64 * 1024
"""Bytes of an answer from which on only the nonce is read."""
SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
PATHS: Final = {"delta": f"{SERVICE}DeltaAggregatedResources", "sotw": f"{SERVICE}StreamAggregatedResources"}
Variant = Literal["delta", "sotw"]


class Answer(NamedTuple):
    """A response."""

    type_url: str
    nonce: str
    version: str
    """Of everything, in a SotW response."""
    resources: Mapping[str, tuple[str, bytes]] | None
    """Version and bytes by name; None where it was not looked at. Names and versions are empty in SotW."""


class Asker:
    """Writes the requests of one kind of node."""

    def __init__(self, variant: Variant, names: Iterable[str]) -> None:
        """`names`: of the endpoints that it asks for."""
        self.variant = variant
        self.names = list(names)
        self._subscription = (
            message(
                discovery_pb2.DeltaDiscoveryRequest(
                    type_url=ENDPOINTS, resource_names_subscribe=self.names
                ).SerializeToString()
            )
            if variant == "delta"
            else message(
                discovery_pb2.DiscoveryRequest(type_url=ENDPOINTS, resource_names=self.names).SerializeToString()
            )
        )
        self._named = discovery_pb2.DiscoveryRequest(resource_names=self.names).SerializeToString()

    def hello(self, node: str, cluster: str, held: Mapping[str, str]) -> bytes:
        """The first request: all clusters. `held`: versions by name that a node returns with (delta)."""
        if self.variant == "delta":
            request: Any = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions=held)
        else:
            request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id, request.node.cluster = node, cluster
        request.node.user_agent_name = "envoy"
        request.node.user_agent_build_version.version.major_number = 1
        request.node.user_agent_build_version.version.minor_number = 40
        return message(request.SerializeToString())

    @property
    def subscription(self) -> bytes:
        """The request for the endpoints of each cluster, by name."""
        return self._subscription

    def acknowledgement(self, answer: Answer) -> bytes:
        """Delta: the type and the nonce. SotW: as a client must, with all names once more."""
        if self.variant == "delta":
            return message(_text(2, answer.type_url) + _text(6, answer.nonce))
        names = self._named if answer.type_url == ENDPOINTS else b""
        return message(_text(1, answer.version) + names + _text(4, answer.type_url) + _text(5, answer.nonce))


def read(variant: Variant, body: bytes, *, closely: bool) -> Answer:
    """Read a response. Raises ValueError for what is none."""
    if len(body) >= LARGE and not closely:
        return _nonce_alone(body)
    if variant == "sotw":
        sotw = discovery_pb2.DiscoveryResponse.FromString(body)
        bodies = {str(index): ("", each.value) for index, each in enumerate(sotw.resources)}
        return Answer(sotw.type_url, sotw.nonce, sotw.version_info, bodies)
    delta = discovery_pb2.DeltaDiscoveryResponse.FromString(body)
    found = {each.name: (each.version, each.resource.value) for each in delta.resources}
    return Answer(delta.type_url, delta.nonce, delta.system_version_info, found)


def _nonce_alone(body: bytes) -> Answer:
    """Both variants write `type_url` (4) and then `nonce` (5) after the resources, and the version (1) before them."""
    for type_url in (CLUSTER, ENDPOINTS):
        if (at := body.rfind(_text(4, type_url))) >= 0:
            at += len(_text(4, type_url))
            if body[at] != 5 << 3 | 2:
                raise ValueError("no nonce after the type")
            nonce = body[at + 2 : at + 2 + body[at + 1]].decode()
            version = body[2 : 2 + body[1]].decode() if body[0] == 1 << 3 | 2 else ""
            return Answer(type_url, nonce, version, None)
    raise ValueError("a response of a type that was not asked for")


def _text(number: int, value: str) -> bytes:
    """A field of a message. Its length stays below 128 here."""
    encoded = value.encode()
    return bytes((number << 3 | 2, len(encoded))) + encoded if encoded else b""
