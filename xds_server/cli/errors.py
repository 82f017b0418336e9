"""How a command fails: one clear sentence on stderr and exit code 1."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


class CommandError(Exception):
    """Something that the user can mend; its text is the sentence that they see."""


def fail(message: str) -> NoReturn:
    """End the command with `message`."""
    raise CommandError(message)


@contextmanager
def reported() -> Iterator[None]:
    """Turn what may go wrong outside of us into a sentence."""
    try:
        yield
    except CommandError as error:
        _exit(str(error))
    except BrokenPipeError:
        # The reader of our output left (`| head`): what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _exit(message: str) -> NoReturn:
    typer.echo(f"xds-server: {message}", err=True)
    sys.exit(1)
