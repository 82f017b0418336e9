"""The log of who was not let in: from where, what they wanted, and why not. Nothing of a secret that they sent is in it."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from xds_server.security.access import AccessError

PERIOD: Final = 60.0
"""Seconds in which the same of an address is told once."""
LINES: Final = 100
"""Lines in that time at the most: whoever knocks a thousand times a second must not fill a disk."""
LONGEST: Final = 200
"""Characters that are shown of what somebody wanted."""

log = structlog.get_logger("access")


class RefusalLog:
    """Tells of refusals: each at once, but the same from the same address once a minute, and how many more there were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._told: set[tuple[str, str, str]] = set()
        self._untold = 0

    def tell(self, error: AccessError, client: str, action: str) -> None:
        """Somebody at the address `client` was refused `action`."""
        now = self._clock()
        if now - self._since >= PERIOD:
            if self._untold:
                log.warning("access.refused", more=self._untold, within=f"{now - self._since:.0f} s")
            self._since, self._untold = now, 0
            self._told.clear()
        action, problem = _printable(action[:LONGEST]), _printable(error.detail)
        if (client, action, problem) in self._told or len(self._told) >= LINES:
            self._untold += 1
            return
        self._told.add((client, action, problem))
        log.warning("access.refused", status=error.status, client=client, action=action, problem=problem)


def _printable(text: str) -> str:
    """What strangers send is data: no line of a log may be made of it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
