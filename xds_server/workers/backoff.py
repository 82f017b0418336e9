"""How long to wait before a worker is replaced. No I/O."""

from typing import Final

FIRST: Final = 0.1
"""Seconds."""
MOST: Final = 30.0
"""Seconds."""
GOOD: Final = 10.0
"""Seconds after which a worker that died was a good one, and what comes after it is tried at once."""


class Backoff:
    """Of one worker: each that dies soon makes the pause before the next one twice as long."""

    def __init__(self) -> None:
        self._next = FIRST

    def pause(self, lived: float) -> float:
        """Seconds to wait, after one that lived for so many."""
        if lived >= GOOD:
            self._next = FIRST
        pause, self._next = self._next, min(MOST, 2 * self._next)
        return pause
