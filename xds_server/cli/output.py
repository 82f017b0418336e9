"""How commands show what they found: a table for people, lines with tabs for pipes, JSON and YAML for programs."""

import json
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import typer

from xds_server.cli.errors import printable
from xds_server.cli.options import one_of


class Format(StrEnum):
    """What a command prints."""

    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


Output = Annotated[
    Format | None,
    one_of(
        Format,
        "-o",
        "--output",
        help="Format. Default: a table on a terminal; in a pipe its rows, with tabs between the columns.",
    ),
]

AsData = Annotated[
    Format | None,
    one_of(Format, "-o", "--output", but=("table",), help="The whole answer as data. Default: what it says, in words."),
]

STYLES: Final = {
    **dict.fromkeys(("enabled", "SYNCED", "applied"), "green"),
    **dict.fromkeys(("draining", "STALE", "held", "degraded"), "yellow"),
    **dict.fromkeys(("unhealthy", "NACKED"), "red"),
    **dict.fromkeys(("disabled", "NOT SENT", "superseded"), "dim"),
}
"""Words that stand out on a terminal."""


class Table(NamedTuple):
    """Rows for people."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Shown(NamedTuple):
    """What a command found."""

    data: Any
    """For programs."""
    table: Table | None = None
    """For people; None: the data as YAML."""


def show(shown: Shown, output: Format | None) -> None:
    """Print on stdout, in the format that is asked for, or that suits where stdout goes."""
    if shown.table is not None and output in (None, Format.TABLE) and (output or sys.stdout.isatty()):
        from rich.console import Console

        # In a pipe a table has the width that it needs.
        Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=False).print(rich(shown.table))
    else:
        typer.echo(text(shown, output), nl=False)


_WIDE: Final = 10_000


def text(shown: Shown, output: Format | None) -> str:
    """What goes into a pipe."""
    if output is Format.JSON:
        return as_json(shown.data, indent=2) + "\n"
    if output is Format.YAML or shown.table is None:
        from xds_server.upstreams.yaml_writer import write_yaml

        return write_yaml(shown.data)
    return "".join("\t".join(map(_cell, row)) + "\n" for row in (shown.table.columns, *shown.table.rows))


def as_json(data: Any, indent: int | None = None) -> str:
    """JSON that people can read, and that moves no cursor."""
    made = json.dumps(data, indent=indent, ensure_ascii=False)
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", made)


def rich(table: Table) -> Any:
    """A table as Rich draws it. What stands in it is text, never markup."""
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        made.add_column(Text(column), overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(cell := _cell(each), style=STYLES.get(cell, "")) for each in row))
    return made


def _cell(value: str) -> str:
    """On one line, and without tabs."""
    return printable(value).replace("\n", "\\n")
