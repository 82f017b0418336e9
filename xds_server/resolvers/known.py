"""What is known of one name: its last good answer, and the addresses that linger. No clock, no I/O: the time is given.

Load balancers in the cloud answer with some of their addresses, others each time. An address that left the answer may so
come back, still serves, and stays for a while: Envoy would otherwise open and close connections with every answer.
"""

from typing import Final

from xds_server.resolvers.questions import Answer, Found, Question, SrvAddress, source

LONGEST_TTL: Final = 300.0
"""Seconds for which an answer is believed at most."""

Place = tuple[str, int]
"""Address and port (0 where the name does not say it): what has the same is the same."""


class Known:
    """The addresses of one name over time."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._answer: dict[Place, Found] = {}
        self.ttl = 0.0
        """Seconds for which the last good answer holds by its own words, at most `LONGEST_TTL`."""
        self.holds = question.min_ttl
        """Seconds for which the last good answer holds."""
        self._lingering: dict[Place, tuple[float, Found]] = {}
        self.addresses: tuple[Found, ...] = ()
        """All of them, sorted."""

    def learn(self, answer: Answer, now: float) -> None:
        """Take a good answer."""
        question = self._question
        new = {
            place: found for place, found in self._answer.items() if source(found, question.name) in answer.failed
        } | {_place(found): found for found in answer.found}
        until = now + max(self.ttl, question.linger)
        left = {place: (until, found) for place, found in self._answer.items() if question.linger}
        self._lingering = {place: kept for place, kept in (self._lingering | left).items() if place not in new}
        self._answer = new
        self.ttl = min(answer.ttl, LONGEST_TTL)
        self.holds = max(self.ttl, question.min_ttl)
        self.forget(now)

    def forget(self, now: float) -> None:
        """Let go of what has lingered long enough."""
        # One of two SRV priorities that left was taken out of service as a whole: it must not stay the preferred one.
        priorities = {_priority(found) for found in self._answer.values()}
        self._lingering = {
            place: (until, found)
            for place, (until, found) in self._lingering.items()
            if until > now and _priority(found) in priorities
        }
        lingering = (found for _, found in self._lingering.values())
        self.addresses = tuple(sorted({*self._answer.values(), *lingering}))

    @property
    def next_to_leave(self) -> float | None:
        """When the next address has lingered long enough, if any lingers."""
        return min((until for until, _ in self._lingering.values()), default=None)


def _place(found: Found) -> Place:
    return (found.address, found.port) if isinstance(found, SrvAddress) else (found, 0)


def _priority(found: Found) -> int:
    return found.priority if isinstance(found, SrvAddress) else 0
