"""Signals that ask `serve` to end while it is still starting, which takes a second or more.

Without this SIGTERM would end it like a crash, SIGINT with a traceback, and a SIGINT that was inherited as ignored (`serve &`
in a script) would be lost. They are remembered here until the server has handlers of its own.
"""

import signal
from types import FrameType

_arrived: list[int] = []


def watch() -> None:
    """Remember SIGTERM and SIGINT from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _remember)


def asked() -> bool:
    """Whether one of them has come."""
    return bool(_arrived)


def _remember(number: int, _: FrameType | None) -> None:
    _arrived.append(number)
