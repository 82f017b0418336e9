"""Tells the other replicas what became of this one's part of the fleet, and hears of theirs, a few times a second.

Nothing waits for it but who waits for others' Envoys. It has a thread of its own, so that a database that stands still costs
nobody else one; what changes meanwhile is noted by name alone.
"""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

import structlog
from sqlalchemy import Engine

from xds_server.catalog.calls import Calls
from xds_server.catalog.store.engine import StoreError
from xds_server.fleet import Fleet, Part
from xds_server.fleet.telling import Telling
from xds_server.fleet.words import Word
from xds_server.replicas.rows import ForgottenError, exchange, leave
from xds_server.replicas.words import Answer, Heard

PAUSE: Final = 0.25
"""Seconds between two looks at what others tell; what changed here is told no more often."""
GONE: Final = 8.0
"""Seconds of silence after which a replica is dead. It speaks four times as often."""
VOID: Final = 60.0
"""Seconds of silence after which what it said is taken away: longer than a database is away for a restart."""
PATIENCE: Final = 4.0
"""Seconds for which the store is waited for."""
RETRY: Final = 1.0
"""Seconds between two tries to reach a store that is lost."""
FAREWELL: Final = 1.0
"""Seconds that the last word may take."""

_AWAY: Final = "the store was away until now, and they may not have told yet that they live"

log = structlog.get_logger("replicas")


class Sharing:
    """`begin` before this replica serves anybody, and `end` when it serves nobody any more."""

    def __init__(self, engine: Engine, fleet: Fleet, name: str, *, pause: float = PAUSE, gone: float = GONE) -> None:
        """`name`: of this replica, for people. `pause`, `gone`: seconds, see `PAUSE` and `GONE`."""
        self._engine, self._fleet = engine, fleet
        self._pause, self._gone = pause, gone
        self._id = uuid4().hex
        self._telling = Telling(fleet, name, gone / 4)
        self._calls = Calls(threads=1)
        self._parts: dict[str, Part] = {}
        self._heard: dict[str, int] = {}
        """Number of the last word that was heard, by id."""
        self._not_understood: set[str] = set()
        """Those of whom not all was, by id: they are of another version."""
        self._is_lost = False
        self._heard_at: float | None = None
        """When the store answered last, by the clock of the event loop."""
        self._trusted_from = 0.0
        """From when on those of whom the store does not know are dead: all others had time to tell that they live."""
        self._wanted = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        fleet.ask = self._wanted.set
        fleet.others.take({}, problem="they were not asked yet", asked=fleet.newest)

    async def begin(self) -> None:
        """Be known to the others, so that none of them takes a revision to be everywhere that is not here; and go on."""
        await self._exchange()
        self._running = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Stop, and let the others know."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        with suppress(StoreError):
            await self._calls(leave, self._engine, self._id, patience=FAREWELL)
        self._calls.close()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY if self._is_lost else self._pause):
                    await self._wanted.wait()
            self._wanted.clear()
            await self._exchange()

    async def _exchange(self) -> None:
        try:
            await self._say_and_hear()
        except ForgottenError:
            self._distrust()
        except StoreError as error:
            self._lose(str(error))
        except Exception as error:  # what is served is worth more than what is shown
            if not self._is_lost:
                log.exception("replicas.failed")
            self._lose(f"what they tell cannot be had: {type(error).__name__}")

    async def _say_and_hear(self) -> None:
        asked = self._fleet.newest
        word = None
        if self._is_lost:
            # It is only looked for: to say everything each time in vain would cost too much.
            self._telling.anew()
        else:
            word = await self._telling.word()
        self._take(await self._calls(self._ask, word, dict(self._heard), patience=PATIENCE), asked)

    def _ask(self, word: Word | None, heard: dict[str, int]) -> Answer:
        return exchange(self._engine, self._id, word, heard, gone_after=self._gone, void_after=VOID)

    def _lose(self, problem: str) -> None:
        """Show what is here alone, and say so."""
        self._is_lost = True
        self._parts, self._heard = {}, {}
        self._fleet.others.take({}, problem=problem, asked=self._fleet.newest)
        self._fleet.others_told()

    def _distrust(self) -> None:
        """The store was away, or was emptied: that it does not know of somebody means nothing for a while."""
        self._telling.anew()
        self._trusted_from = asyncio.get_running_loop().time() + self._gone

    def _take(self, answer: Answer, asked: int) -> None:
        now = asyncio.get_running_loop().time()
        slept = self._heard_at is not None and now - self._heard_at > self._gone
        if self._is_lost or slept or answer.own != self._telling.number:
            self._distrust()
        self._is_lost, self._heard_at = False, now
        changed = False
        for replica, heard in answer.others.items():
            changed |= self._hear(replica, heard)
        for replica in self._parts.keys() - answer.others.keys():
            changed = True
            log.warning("replica.left", replica=self._parts.pop(replica).name)
            del self._heard[replica]
            self._not_understood.discard(replica)
        others = self._fleet.others
        is_sure = now >= self._trusted_from and answer.awake > self._gone
        problem = self._others_problem() if is_sure else _AWAY
        changed |= (problem, asked) != (others.problem, others.asked)
        others.take(self._parts, problem=problem, asked=asked)
        if changed:
            self._fleet.others_told()

    def _others_problem(self) -> str:
        names = sorted(self._parts[replica].name for replica in self._not_understood & self._parts.keys())
        return f"{', '.join(names)} tells what this version does not understand" if names else ""

    def _hear(self, replica: str, heard: Heard) -> bool:
        """Take in what one of them tells; returns whether that is news."""
        if (part := self._parts.get(replica)) is None:
            part = self._parts[replica] = Part(heard.name)
            log.info("replica.joined", replica=heard.name)
        if heard.unreadable and replica not in self._not_understood:
            self._not_understood.add(replica)
            log.warning("replica.not_understood", replica=heard.name, parts=heard.unreadable, detail="is it newer?")
        before = self._heard.get(replica), part.delivered, part.forgotten
        self._heard[replica], part.delivered, part.forgotten = heard.number, heard.delivered, heard.forgotten
        part.take(heard.nodes, heard.rollouts)
        if heard.nodes:
            part.forget(self._fleet.others.remembered_since)
        return before != (heard.number, heard.delivered, heard.forgotten)
