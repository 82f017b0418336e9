"""One event loop in a thread of its own, shared by all backends and loads of the process.

Tests are synchronous and busy elsewhere; one thread is cheaper than one for each backend, and it lives as long as the
process does because it holds nothing by itself.
"""

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def background_loop() -> asyncio.AbstractEventLoop:
    """The shared event loop, started by its first user."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="xds-server-testing", daemon=True).start()
    return loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the shared event loop and wait for what it returns or raises."""
    return asyncio.run_coroutine_threadsafe(work, background_loop()).result()
