"""Calls of the store off the event loop, which are given up on when they take too long.

The threads are daemons: one that is stuck in a database which stands still must not keep the process from ending.
"""

import asyncio
import contextlib
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from xds_server.catalog.store.engine import StoreError

THREADS: Final = 4
PATIENCE: Final = 4.0
"""Seconds for which an answer is waited for."""
LONG: Final = 60.0
"""The same for what concerns the whole history, or everything in force."""

T = TypeVar("T")


class SilentError(StoreError):
    """The store did not answer in time; what it was asked for may still happen."""


class Calls:
    """Some threads that do one call after the other."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for number in range(threads):
            Thread(target=self._work, name=f"store-{number}", daemon=True).start()

    async def __call__(self, function: Callable[..., T], *arguments: object, patience: float = PATIENCE) -> T:
        """What `function` returns or raises. Raises SilentError after `patience` seconds; one that had not begun never will."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(how: Callable[[Any], None], what: Any) -> None:
            if not done.done():
                how(what)

        def work() -> None:
            if done.done():
                return
            how: Callable[[Any], None] = done.set_result
            what: Any
            try:
                what = function(*arguments)
            except BaseException as error:
                how, what = done.set_exception, error
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(settle, how, what)

        self._waiting.put(work)
        try:
            await asyncio.wait({done}, timeout=patience)
            if not done.done():
                raise SilentError(f"the store does not answer: nothing came within {patience:g} s")
            return done.result()
        finally:
            done.cancel()

    def close(self) -> None:
        """End the threads, each after the call that it is in."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
            del work  # and what it returned, which may be everything in force
