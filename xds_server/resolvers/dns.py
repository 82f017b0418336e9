"""Host names into addresses over time: refreshed, and the last good answer kept. Knows nothing of Envoy or of upstreams.

An empty answer, an unknown name and a resolver that fails all leave what was known: a target that vanishes from DNS for a
moment must not vanish from Envoy. Look-ups share one c-ares channel (aiodns), so that any number of dead names holds
neither a thread nor another name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import aiodns
import structlog

REFRESH_INTERVAL: Final = 5.0
"""Seconds between two look-ups of a name."""
FIRST_ANSWER: Final = 3.0
"""Seconds that a look-up may take, and so that a new name may delay the change that brings it."""

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
log = structlog.get_logger("dns")


class SystemLookup:
    """Asks the name servers and the hosts file that this machine is configured with."""

    def __init__(self) -> None:
        self._resolver: aiodns.DNSResolver | None = None

    async def __call__(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses of `name`, or its IPv6 addresses where it has no others; sorted. Raises OSError."""
        if self._resolver is None:
            self._resolver = aiodns.DNSResolver(timeout=1.0, tries=2)
        try:
            answer = await self._resolver.getaddrinfo(name, family=socket.AF_UNSPEC)
        except aiodns.error.DNSError as error:
            raise OSError(str(error.args[-1])) from None
        found = {(node.family, node.addr[0].decode()) for node in answer.nodes}
        ipv4 = sorted(address for family, address in found if family == socket.AF_INET)
        return tuple(ipv4 or sorted(address for _, address in found))


class Resolver:
    """Keeps the addresses of the names that are in use and tells when they change."""

    def __init__(
        self,
        on_change: Callable[[frozenset[str]], Awaitable[None]],
        lookup: Lookup | None = None,
        interval: float = REFRESH_INTERVAL,
    ) -> None:
        """`on_change` is called with each name whose addresses changed while `run` runs. `interval` in seconds."""
        self._on_change = on_change
        self._lookup = lookup or SystemLookup()
        self._interval = interval
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._names: set[str] = set()
        self._failing: set[str] = set()
        self._untold: set[str] = set()
        """Names whose new addresses could not be told: told again with the next refresh."""
        self._asked: dict[str, asyncio.Task[bool]] = {}

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """The last good answer of every name in use that ever had one."""
        return self._addresses

    async def add(self, names: Iterable[str]) -> None:
        """Resolve `names` too from now on; returns once each new one was looked up, after 3 s at most."""
        new = set(names) - self._names
        self._names |= new
        if new:
            await asyncio.wait([self._ask(name) for name in new])

    def drop(self, names: Iterable[str]) -> None:
        """Resolve `names` no longer, and forget their addresses."""
        for name in names:
            self._names.discard(name)
            self._failing.discard(name)
            self._untold.discard(name)
            self._addresses.pop(name, None)

    async def run(self) -> None:
        """Refresh until cancelled. Each name is told as soon as it is known, whatever the others do."""
        try:
            async with asyncio.TaskGroup() as refreshes:
                while True:
                    await asyncio.sleep(self._interval)
                    for name in self._names - self._asked.keys():
                        refreshes.create_task(self._refresh(name))
        finally:
            for task in self._asked.values():
                task.cancel()

    async def _refresh(self, name: str) -> None:
        """Look `name` up and tell. Nothing that goes wrong with one name may end the server, or be forgotten."""
        try:
            if (await self._ask(name) or name in self._untold) and name in self._names:
                self._untold.add(name)
                await self._on_change(frozenset({name}))
                self._untold.discard(name)
        except Exception as error:
            log.error("dns.refresh_failed", name=name, problem=repr(error), exc_info=True)

    def _ask(self, name: str) -> asyncio.Task[bool]:
        """Look `name` up, once at a time; the task tells whether its addresses changed."""
        if (task := self._asked.get(name)) is None:
            task = self._asked[name] = asyncio.create_task(self._look_up(name))
            task.add_done_callback(lambda _: self._asked.pop(name, None))
        return task

    async def _look_up(self, name: str) -> bool:
        found: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(FIRST_ANSWER):
                found = await self._lookup(name)
            problem = "" if found else "the answer is empty"
        except TimeoutError:
            problem = f"no answer in {FIRST_ANSWER:g} s"
        except OSError as error:
            problem = error.strerror or str(error)
        except Exception as error:
            problem = repr(error)
        if name not in self._names:
            return False
        if problem:
            if name not in self._failing:
                self._failing.add(name)
                kept = ", ".join(self._addresses.get(name, ())) or "none are known"
                log.warning("dns.failed", name=name, problem=problem, addresses_kept=kept)
            return False
        if name in self._failing:
            self._failing.discard(name)
            log.info("dns.recovered", name=name)
        changed = self._addresses.get(name) != found
        self._addresses[name] = found
        return changed
