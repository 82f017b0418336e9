"""Names in public DNS whose answers hold for a short time: those of clouds, which often answer each asker otherwise."""

from ipaddress import ip_address
from typing import Final

from xds_server.resolvers.questions import Answer

SHORT_TTL: Final = 60.0
"""Seconds up to which a TTL is short."""


def is_public_and_short(answer: Answer) -> bool:
    """Whether an answer holds for a short time and has an address that is reached from everywhere."""
    addresses = (found if isinstance(found, str) else found.address for found in answer.found)
    return 0 < answer.ttl <= SHORT_TTL and any(ip_address(address).is_global for address in addresses)
