"""Tokens of a store, as requests see them: fresh within a second, at once when new, and there when the store is not."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from xds_server.security.access import Caller, Policy, UnauthenticatedError
from xds_server.security.authenticator import FRESH, RETRY, Authenticator
from xds_server.security.roles import Role
from xds_server.security.tokens import Token, create

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TEXT, TOKEN = create("ci", Role.WRITE, now=NOW, expires=NOW + timedelta(hours=1), author="ada")
CI = Caller(f"Bearer {TEXT}")


class Store:
    """What is kept, how often it was read, and a clock that only tests move."""

    def __init__(self, *tokens: Token) -> None:
        self.kept, self.reads, self.time, self.now = tokens, 0, 0.0, NOW
        self.error: Exception | None = None

    async def read(self) -> Sequence[Token]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.kept

    def authenticator(self, policy: Policy | None = None) -> Authenticator:
        policy = policy or Policy(open_to="local")
        return Authenticator(self.read, policy, clock=lambda: self.time, now=lambda: self.now)


async def refused(authenticator: Authenticator, caller: Caller) -> str:
    with pytest.raises(UnauthenticatedError) as error:
        await authenticator.identify(caller)
    return error.value.detail


async def test_requests_share_what_was_read() -> None:
    store = Store(TOKEN)
    authenticator = store.authenticator()
    found = await asyncio.gather(*(authenticator.identify(CI) for _ in range(100)))
    assert {identity.name for identity in found} == {"ci"}
    assert store.reads == 1


async def test_a_revoked_token_is_refused_within_a_second() -> None:
    store = Store(TOKEN)
    authenticator = store.authenticator()
    await authenticator.identify(CI)
    store.kept = ()
    store.time = FRESH
    assert "not known here" in await refused(authenticator, CI)
    # It was the last one: who needs none is let in again.
    assert (await authenticator.identify(Caller())).name == "local"


async def test_a_new_token_works_at_once() -> None:
    store = Store()
    authenticator = store.authenticator(Policy())
    await refused(authenticator, CI)
    store.kept = (TOKEN,)
    store.time = RETRY
    assert (await authenticator.identify(CI)).name == "ci"


async def test_guessing_does_not_read_the_store_again_and_again() -> None:
    store = Store(TOKEN)
    authenticator = store.authenticator()
    for _ in range(1000):
        await refused(authenticator, Caller("Bearer guess"))
    assert store.reads == 1


async def test_an_expired_token_keeps_the_door_shut() -> None:
    store = Store(TOKEN)
    authenticator = store.authenticator()
    store.now = NOW + timedelta(hours=1)
    assert "expired" in await refused(authenticator, CI)
    assert "a token is needed" in await refused(authenticator, Caller())


async def test_a_lost_store_locks_nobody_out() -> None:
    store = Store(TOKEN)
    authenticator = store.authenticator()
    await authenticator.identify(CI)
    store.error = OSError("postgresql://user:password@db is gone")
    with structlog.testing.capture_logs() as logged:
        for second in range(1, 5):
            store.time = float(second)
            assert (await authenticator.identify(CI)).name == "ci"
    assert [(line["event"], line["problem"]) for line in logged] == [("tokens.unreadable", "OSError")]
    assert "password" not in str(logged)
    store.error, store.kept, store.time = None, (), 10.0
    await refused(authenticator, CI)


async def test_a_store_that_was_never_read_lets_nobody_in() -> None:
    store = Store(TOKEN)
    store.error = OSError("no such file")
    authenticator = store.authenticator()
    for caller in (CI, Caller()):
        with pytest.raises(OSError, match="no such file"):
            await authenticator.identify(caller)
    store.error = None
    assert (await authenticator.identify(CI)).name == "ci"
