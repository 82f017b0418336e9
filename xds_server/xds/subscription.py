"""What a state-of-the-world request names. Each one names everything again, so that equal ones are read once. No I/O."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from envoy.service.discovery.v3 import discovery_pb2

_REST: Final = [f.name for f in discovery_pb2.DiscoveryRequest.DESCRIPTOR.fields if f.name != "resource_names"]


class Subscription(NamedTuple):
    """The names in a request."""

    names: frozenset[str]
    """Without ``*``."""
    wildcard: bool
    """``*`` is among them."""
    in_order: tuple[str, ...]
    """`names`, sorted."""

    @classmethod
    def of(cls, written: Iterable[str]) -> "Subscription":
        """As a request has them."""
        everything = frozenset(written)
        names = everything - {"*"}
        return cls(names, len(names) < len(everything), tuple(sorted(names)))


def encoded_names(request: Any) -> bytes:
    """The names of a `DiscoveryRequest`, as bytes: equal ones are equal names. A tenth of the work of reading them."""
    alone = discovery_pb2.DiscoveryRequest()
    alone.CopyFrom(request)
    for field in _REST:
        alone.ClearField(field)
    encoded: bytes = alone.SerializeToString()
    return encoded
