"""What names resolve to, as test cases write it."""

from typing import Any

from xds_server.resolvers import SrvAddress
from xds_server.upstreams.translate import Addresses


def written(addresses: dict[str, list[Any]]) -> Addresses:
    """Names with their addresses; `name:srv` with lists of priority, weight, host, address and port."""
    return {
        name: [SrvAddress(*place) if isinstance(place, list) else place for place in found]
        for name, found in addresses.items()
    }
