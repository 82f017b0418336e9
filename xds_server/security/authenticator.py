"""Tokens as the store has them, kept for a moment, so that a request costs no query and a lost store locks nobody out."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from xds_server.security.access import Caller, Identity, Policy, UnauthenticatedError, identify
from xds_server.security.tokens import Token

FRESH: Final = 1.0
"""Seconds for which tokens that were read are believed: a token that is revoked elsewhere works for so long."""
RETRY: Final = 0.1
"""Seconds between two readings for callers who are not known: their token may have been made just now."""

log = structlog.get_logger("access")


class Authenticator:
    """Identifies callers by the tokens of a store."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Token]]],
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`read`: all tokens that there are, expired ones too; what it raises is logged once, and the last answer holds."""
        self._read, self._policy = read, policy
        self._clock, self._now = clock, now
        self._tokens: Sequence[Token] | None = None
        self._read_at = 0.0
        self._failed = False
        self._reading = asyncio.Lock()

    async def tokens(self) -> Sequence[Token]:
        """All tokens, as they were within the last second. Raises what `read` does while it never succeeded."""
        return await self._newer_than(FRESH)

    async def identify(self, caller: Caller) -> Identity:
        """Who is asking: see `access.identify`. Raises what that does, and what `tokens` does."""
        try:
            return identify(caller, await self.tokens(), self._policy, self._now())
        except UnauthenticatedError:
            return identify(caller, await self._newer_than(RETRY), self._policy, self._now())

    async def _newer_than(self, age: float) -> Sequence[Token]:
        async with self._reading:  # who comes meanwhile shares the answer
            if self._tokens is not None and self._clock() - self._read_at < age:
                return self._tokens
            try:
                self._tokens = await self._read()
                self._failed = False
            except Exception as error:
                if self._tokens is None:
                    raise
                if not self._failed:
                    # The type alone: what a database says may hold its address with a password.
                    log.error("tokens.unreadable", problem=type(error).__name__, last_known_hold=True)
                self._failed = True
            self._read_at = self._clock()
            return self._tokens
