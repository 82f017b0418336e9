"""Host names into addresses over time: asked again when their TTL runs out, and the last good answer kept.

An empty answer, an unknown name and a resolver that fails all leave what was known: a target that vanishes from DNS for a
moment must not vanish from Envoy. Names that fail share a few slots of their own, so that any number of dead names holds no
other name back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Final

import structlog

from xds_server.resolvers.known import Known
from xds_server.resolvers.lookup import SystemLookup
from xds_server.resolvers.public import is_public_and_short
from xds_server.resolvers.questions import Answer, Found, Lookup, Question

FIRST_ANSWER: Final = 3.0
"""Seconds that a look-up may take, and so that new names may delay the change that brings them."""
AT_ONCE: Final = 200
"""Look-ups at a time."""
FAILING_AT_ONCE: Final = 50
"""The same for names whose last look-up failed."""
JITTER: Final = 0.1
"""Share of its TTL by which a name may be asked later, so that names that came together part."""
TELL_AGAIN: Final = 1.0
"""Seconds until news are told again to a receiver that failed."""

log = structlog.get_logger("dns")


class _Entry(Known):
    """A question in use."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.failing = False
        self.asked: asyncio.Task[None] | None = None
        self.is_awaited = True
        """Whether the change that brings it waits for its first answer, which is then no news."""
        self.ask_at = 0.0
        self.due = 0.0
        """When it has its turn next: to be asked, or because an address has lingered long enough."""
        self.is_told_of_ttl = False
        self.short_answers = 0
        """Answers in a row that were public and held for a short time."""


class Resolver:
    """Keeps the addresses of the names that are in use and tells when they change."""

    def __init__(
        self, on_change: Callable[[frozenset[Question]], Awaitable[None]], lookup: Lookup | None = None
    ) -> None:
        """`on_change` is called with the questions whose addresses changed, while `run` runs."""
        self._on_change = on_change
        self._lookup = lookup or SystemLookup()
        self._entries: dict[Question, _Entry] = {}
        self._turns: list[tuple[float, int, Question]] = []
        """A heap. Of turns of the same question, only the one at its entry's `due` counts."""
        self._number = count()
        self._woken = asyncio.Event()
        self._slots, self._slots_of_failing = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(FAILING_AT_ONCE)
        self._news: set[Question] = set()
        """Questions whose new addresses are to be told."""
        self._has_news = asyncio.Event()
        self.addresses: Mapping[Question, tuple[Found, ...]] = _Addresses(self._entries)
        """What is known of every question in use that ever had an answer."""

    def answers(self) -> dict[Question, Answer]:
        """The same with how long each holds by its own words."""
        return {question: Answer(found, self._entries[question].ttl) for question, found in self.addresses.items()}

    async def add(self, questions: Iterable[Question]) -> None:
        """Ask `questions` too from now on; returns once each new one was asked, after 3 s at most.

        What comes later is told.
        """
        entries = {question: _Entry(question) for question in questions if question not in self._entries}
        self._entries |= entries
        if entries:
            tasks = [self._ask(question, entry) for question, entry in entries.items()]
            await asyncio.wait(tasks, timeout=FIRST_ANSWER)
            self._inherit({question: entry for question, entry in entries.items() if not entry.addresses})
        for entry in entries.values():
            entry.is_awaited = False

    def _inherit(self, unanswered: Mapping[Question, _Entry]) -> None:
        """Let questions begin with what is known of the same name under other terms: these were edited while DNS is down."""
        if not unanswered:
            return
        known = {_asked(question): entry.addresses for question, entry in self._entries.items() if entry.addresses}
        for question, entry in unanswered.items():
            if found := known.get(_asked(question)):
                entry.learn(Answer(found), _now())

    def drop(self, questions: Iterable[Question]) -> None:
        """Ask `questions` no longer, and forget their addresses."""
        for question in questions:
            entry = self._entries.pop(question, None)
            if entry is not None and entry.asked is not None:
                entry.asked.cancel()
            self._news.discard(question)

    async def run(self) -> None:
        """Ask and tell until cancelled."""
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._tell())
                while True:
                    self._woken.clear()
                    self._take_turns()
                    wait = self._turns[0][0] - _now() if self._turns else None
                    try:
                        async with asyncio.timeout(wait):
                            await self._woken.wait()
                    except TimeoutError:
                        continue
        finally:
            for entry in self._entries.values():
                if entry.asked is not None:
                    entry.asked.cancel()

    def _take_turns(self) -> None:
        now = _now()
        while self._turns and self._turns[0][0] <= now:
            due, _, question = heappop(self._turns)
            entry = self._entries.get(question)
            if entry is None or entry.due != due or entry.asked is not None:
                continue
            if now >= entry.ask_at:
                self._ask(question, entry)
            else:
                before = entry.addresses
                entry.forget(now)
                self._notice(question, entry, before)
                self._schedule(question, entry)

    def _schedule(self, question: Question, entry: _Entry) -> None:
        """Give a question its next turn."""
        entry.due = min(entry.ask_at, entry.next_to_leave or entry.ask_at)
        heappush(self._turns, (entry.due, next(self._number), question))
        if self._turns[0][0] == entry.due:
            self._woken.set()

    def _notice(self, question: Question, entry: _Entry, before: tuple[Found, ...]) -> None:
        if entry.addresses != before and not entry.is_awaited:
            self._news.add(question)
            self._has_news.set()

    async def _tell(self) -> None:
        """Tell what changed. A receiver that fails is told again, with what changed since."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            if not (news := frozenset(self._news)):
                continue
            self._news.clear()
            try:
                await self._on_change(news)
            except Exception as error:
                log.error("dns.not_told", names=sorted({q.name for q in news}), problem=repr(error), exc_info=True)
                await asyncio.sleep(TELL_AGAIN)
                self._news |= news & self._entries.keys()
                self._has_news.set()

    def _ask(self, question: Question, entry: _Entry) -> asyncio.Task[None]:
        entry.asked = asyncio.create_task(self._ask_once(question, entry))
        return entry.asked

    async def _ask_once(self, question: Question, entry: _Entry) -> None:
        """Ask, keep what is found, and have the next turn. Nothing that goes wrong with one name may end the server."""
        answer, problem = None, ""
        async with self._slots_of_failing if entry.failing else self._slots:
            try:
                async with asyncio.timeout(FIRST_ANSWER):
                    answer = await self._lookup(question)
                problem = answer.problem if answer.found else "the answer is empty"
            except TimeoutError:
                problem = f"no answer in {FIRST_ANSWER:g} s"
            except OSError as error:
                problem = error.strerror or str(error)
            except Exception as error:
                problem = repr(error)
        entry.asked = None
        if self._entries.get(question) is not entry:
            return
        holds = question.min_ttl
        if answer is not None and answer.found:
            before = entry.addresses
            entry.learn(answer, _now())
            self._notice(question, entry, before)
            holds = entry.holds
            _advise(question, entry, answer)
        _report(question, entry, problem)
        entry.ask_at = _now() + holds * random.uniform(1, 1 + JITTER)
        self._schedule(question, entry)


class _Addresses(Mapping[Question, tuple[Found, ...]]):
    """What entries know, without those that never had an answer."""

    def __init__(self, entries: Mapping[Question, _Entry]) -> None:
        self._entries = entries

    def __getitem__(self, question: Question) -> tuple[Found, ...]:
        if found := self._entries[question].addresses:
            return found
        raise KeyError(question)

    def __iter__(self) -> Iterator[Question]:
        return (question for question, entry in self._entries.items() if entry.addresses)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _asked(question: Question) -> tuple[object, ...]:
    return question.name, question.srv, question.family


def _report(question: Question, entry: _Entry, problem: str) -> None:
    """Say once that a name fails, and once that it does not any more."""
    if problem and not entry.failing:
        kept = ", ".join(map(_shown, entry.addresses)) or "none are known"
        log.warning("dns.failed", name=question.name, problem=problem, addresses_kept=kept)
    elif not problem and entry.failing:
        log.info("dns.recovered", name=question.name)
    entry.failing = bool(problem)


def _advise(question: Question, entry: _Entry, answer: Answer) -> None:
    """Say once of a name that it wants to be asked more often than it is, or that Envoys had better follow it themselves."""
    # A name server that caches says what is left of a TTL. The answer after that is a fresh one.
    entry.short_answers = entry.short_answers + 1 if is_public_and_short(answer) and not question.srv else 0
    too_short = 0 < answer.ttl < question.min_ttl
    if entry.is_told_of_ttl or not (too_short or entry.short_answers > 1):
        return
    entry.is_told_of_ttl = True
    advice = [] if question.srv else ["each Envoy follows it by itself with resolve: envoy"]
    advice += ["a lower dns.min_ttl has the control plane ask sooner"] if too_short else []
    log.info(
        "dns.short_ttl", name=question.name, ttl=answer.ttl, asked_every=question.min_ttl, advice="; ".join(advice)
    )


def _shown(found: Found) -> str:
    return found if isinstance(found, str) else f"{found.address}:{found.port}"


def _now() -> float:
    return asyncio.get_running_loop().time()
