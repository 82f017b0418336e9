"""How a command fails: one clear sentence on stderr, and an exit code that scripts can tell apart."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

HELD: Final = 3
"""Exit code of a change that was stored, but waits to be confirmed. 1 is every other failure, 2 a wrong command line."""


class CommandError(Exception):
    """Something that the user can mend; its text is the sentence that they see."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with `message`."""
    raise CommandError(message, code)


@contextmanager
def reported() -> Iterator[None]:
    """Turn what may go wrong outside of us into a sentence."""
    try:
        yield
    except CommandError as error:
        _exit(str(error), error.code)
    except BrokenPipeError:
        # The reader of our output left (`| head`): what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def say(message: str) -> None:
    """Tell people something beside what they asked for: on stderr, under our name."""
    typer.echo(f"xds-server: {printable(message)}", err=True)


def printable(text: str) -> str:
    """`text` without the power to move the cursor or to colour the screen: what servers and Envoys say is data."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _exit(message: str, code: int = 1) -> NoReturn:
    say(message)
    sys.exit(code)
