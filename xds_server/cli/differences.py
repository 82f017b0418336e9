"""What a change does, line by line: a heading for each record, and under it the lines that come and go."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from xds_server.cli.errors import printable, say
from xds_server.cli.outcome import lint
from xds_server.cli.output import Format, Shown, text

COLORS: Final = {"+": typer.colors.GREEN, "-": typer.colors.RED}


def show_differences(answer: Mapping[str, Any], output: Format | None, nothing: str) -> None:
    """Print a preview. `nothing`: what is said where nothing differs. Warnings go to stderr."""
    if output in (Format.JSON, Format.YAML):
        typer.echo(text(Shown(answer), output), nl=False)
        return
    for change in answer["changes"]:
        typer.secho(printable(heading(change)), bold=True)
        for line in change.get("diff") or ():
            typer.secho(printable(line), fg=COLORS.get(line[:1]))
    sys.stdout.flush()  # before what goes to stderr
    if not answer["changes"]:
        say(nothing)
    for one in _warnings(answer):
        say(one)


def heading(change: Mapping[str, Any]) -> str:
    """`upstream payments: changed, endpoints, 3 Envoys`: the record, what becomes of it, and what that does to whom."""
    action, effect = change["action"], change.get("effect")
    said = [action]
    if effect == "nothing":
        said.append("nothing in Envoy")
    elif effect and effect != action:
        said.append(effect)
    if effect != "nothing":
        count = (change.get("nodes") or {}).get("count", 0)
        said.append(f"{count} Envoy{'s' if count != 1 else ''}")
    if drops := change.get("drops"):
        said.append(f"losing {' and '.join(drops)}")
    return f"{change['kind']} {change['name']}: {', '.join(said)}"


def _warnings(answer: Mapping[str, Any]) -> Iterator[str]:
    """Each once, as a record and what lies over it have the same."""
    seen = dict.fromkeys(lint(one) for change in answer["changes"] for one in change.get("warnings") or ())
    yield from seen
