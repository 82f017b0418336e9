"""What is asked and what is answered: the data that look-ups, the resolver and its users share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Family = Literal["v4-preferred", "v4", "v6", "all"]
"""Which addresses of a name count. v4-preferred: IPv6 only where there is no IPv4."""


class Question(NamedTuple):
    """A name and how it is to be resolved. The same name under other terms is another question."""

    name: str
    srv: bool = False
    """Whether its SRV records are asked for, rather than its addresses."""
    family: Family = "v4-preferred"
    linger: float = 300
    """Seconds that an address stays after it left the answer; for the answer's TTL where that is longer. 0: not at all."""
    min_ttl: float = 5
    """Seconds after which it is asked again at the earliest."""


class SrvAddress(NamedTuple):
    """An address that an SRV record leads to."""

    priority: int
    weight: int
    host: str
    """The name that the record gives."""
    address: str
    port: int


Found = str | SrvAddress
"""An address of a name, or where one of its SRV records leads to."""


class Source(NamedTuple):
    """A part of an answer that can fail by itself: the addresses of one family that one host name has."""

    host: str
    v6: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look-up found."""

    found: tuple[Found, ...]
    ttl: float = 0
    """Seconds for which it holds; the shortest of its records. 0 where it comes from the hosts file."""
    failed: frozenset[Source] = frozenset()
    """Of what nothing was learned, while the rest of the answer is good."""
    problem: str = ""
    """Why."""


Lookup = Callable[[Question], Awaitable[Answer]]
"""Asks once. Raises OSError when nothing was found, for whatever reason."""


def source(found: Found, name: str) -> Source:
    """The part of an answer for `name` that an address comes from."""
    if isinstance(found, SrvAddress):
        return Source(found.host, ":" in found.address)
    return Source(name, ":" in found)
