"""`--watch`: read again every second, and show what is new."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import typer

from xds_server.cli.errors import CommandError, say
from xds_server.cli.output import Format, Shown, as_json, rich, text

PERIOD: Final = 1.0
"""Seconds between two readings."""

Read = Callable[[], Shown]


def watch(read: Read, output: Format | None) -> None:
    """Show what `read` finds until Ctrl-C: drawn anew on a terminal, and in a pipe each time that it changes.

    In a pipe JSON is one line for each time, and YAML a document. A server that is away for a while is said once. What
    goes wrong at the first reading is raised.
    """
    try:
        if sys.stdout.isatty() and output in (None, Format.TABLE):
            _redraw(read)
        else:
            _follow(read, output)
    except KeyboardInterrupt:
        return


def _redraw(read: Read) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    shown = _drawn(read())
    # What does not fit on the screen is left out until the last drawing, which stays behind.
    with Live(shown, auto_refresh=False) as live:
        while True:
            time.sleep(PERIOD)
            try:
                shown = _drawn(read())
                live.update(shown, refresh=True)
            except CommandError as error:
                live.update(Group(shown, Text(str(error), style="red")), refresh=True)


def _drawn(shown: Shown) -> Any:
    from rich.text import Text

    return rich(shown.table) if shown.table is not None else Text(text(shown, None))


def _follow(read: Read, output: Format | None) -> None:
    last = _written(read(), output)
    typer.echo(last, nl=False)
    problem = ""
    while True:
        time.sleep(PERIOD)
        try:
            now = _written(read(), output)
        except CommandError as error:
            if str(error) != problem:
                problem = str(error)
                say(problem)
            continue
        problem = ""
        if now != last:
            last = now
            between = {Format.JSON: "", Format.YAML: "---\n"}.get(output or Format.TABLE, "\n")
            typer.echo(between + now, nl=False)


def _written(shown: Shown, output: Format | None) -> str:
    return as_json(shown.data) + "\n" if output is Format.JSON else text(shown, output)
