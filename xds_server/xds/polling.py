"""One answer to one question: REST polling, and gRPC's unary Fetch. No stream, no nonce, no memory, no I/O.

Rules: conformance V16 to V19. A poller says which version it holds, and is told what differs, or that nothing does.
"""

from typing import NamedTuple

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.xds.ordering import LEGACY_WILDCARD
from xds_server.xds.resource import Resource, content_version, length_delimited
from xds_server.xds.snapshot import Snapshot


class NotReadyError(Exception):
    """There is nothing to serve yet. An empty answer would take everything from the client (S16)."""


class Answer(NamedTuple):
    """What a poller is told."""

    type_url: str
    version: str
    resources: tuple[Resource, ...]

    def encode(self, identifier: str = "") -> bytes:
        """As an encoded `DiscoveryResponse`."""
        who = length_delimited(6, length_delimited(1, identifier.encode())) if identifier else b""
        frames = (resource.sotw_frame for resource in self.resources)
        return b"".join(
            (length_delimited(1, self.version.encode()), *frames, length_delimited(4, self.type_url.encode()), who)
        )


def poll(snapshot: Snapshot, type_url: str, request: discovery_pb2.DiscoveryRequest) -> Answer | None:
    """All that `request` asks for, or None when nothing differs from the version that it holds.

    Of names that do not exist nothing is said (S39): where none exists, that is None too, as an empty answer would be taken
    for the end of what the client holds.
    """
    names = set(request.resource_names)
    wildcard = "*" in names or (not names and type_url in LEGACY_WILDCARD)
    if wildcard:
        version = snapshot.version(type_url)
        resources = tuple(snapshot.resources(type_url)) if version != request.version_info else ()
    else:
        found = (snapshot.get(type_url, name) for name in sorted(names))
        resources = tuple(resource for resource in found if resource is not None)
        if not resources:
            return None
        # Of what was asked for alone: a poller is not told of changes that do not concern it.
        parts = (text.encode() for resource in resources for text in (resource.name, resource.version))
        version = content_version(*parts)
    return None if version == request.version_info else Answer(type_url, version, resources)
