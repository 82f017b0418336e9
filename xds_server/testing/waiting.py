"""Waiting for what will be true soon."""

import time
from collections.abc import Callable
from typing import Final

PAUSE: Final = 0.05
"""Seconds between two looks."""


def wait_until(condition: Callable[[], object], timeout: float, what: Callable[[], str]) -> None:
    """Wait until a condition is true. Raises TimeoutError, which says for `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what()}")
        time.sleep(PAUSE)
