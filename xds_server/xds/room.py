"""Room for first answers: however many clients come at once, only so much of what they are sent first is held at a time.

Each is made for its stream, with a copy of what all share, and held until its client has taken it.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MOST: Final = 64 * 1024 * 1024
"""Bytes of first answers that are under way together; the last one that finds room may go beyond that."""
PATIENCE: Final = 5.0
"""Seconds for which a stream waits for room. Clients that stand still must not keep others from being served."""


class Room:
    """Shared by the streams of a server."""

    def __init__(self, most: int = MOST, patience: float = PATIENCE) -> None:
        self._most, self._patience = most, patience
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for room, in the order in which streams come; `patience` seconds at the most. Make the answer then, at once, and
        `take` room for it, or `pass_on` where there is none to make."""
        if self._taken < self._most and not self._waiting:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.pass_on()  # its turn came as it left
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(turn)

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold so many bytes in the block."""
        self._taken += size
        self.pass_on()
        try:
            yield
        finally:
            self._taken -= size
            self.pass_on()

    def open(self) -> None:
        """Let everybody enter from now on."""
        self._most = sys.maxsize
        while self._waiting:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next one enter, where there is room."""
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
