"""What a change does, line by line: a heading for each record, and under it the lines that come and go."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from xds_server.cli.errors import fail, printable, say
from xds_server.cli.outcome import lint
from xds_server.cli.output import Format, Shown, text

WithEnvoy = Annotated[
    bool,
    typer.Option(
        "--with-envoy", help="Also have a real Envoy, of the server's machine, load what changes (role write)."
    ),
]
TRIAL: Final = 30.0
"""Seconds that the server's Envoy may take."""
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


def tell_trial(answer: Mapping[str, Any], place: Callable[[str, str], str | None] = lambda kind, name: None) -> None:
    """Say what the server's Envoy says of a change, if it was asked. `place`: where a definition is written, as far as that
    is known. Raises CommandError where Envoy refuses something."""
    if (trial := answer.get("envoy")) is None:
        return
    envoy = f"Envoy {trial.get('version', '')}".rstrip()
    refused = trial.get("refused") or []
    for one in refused:
        kind, name = str(one.get("kind", "")), str(one.get("name", ""))
        about = [each for each in (place(kind, name), f"{kind} {name}".strip()) if each]
        say(": ".join([*about, f"{envoy} refuses it: {one.get('detail', '')}"]))
    if refused:
        fail(f"{envoy} would not take {len(refused)} of {trial.get('checked')} definition(s)")
    say(f"{envoy} takes it" if trial.get("checked") else "nothing of it is for an Envoy to load")


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
    yield from dict.fromkeys([*seen, *map(lint, answer.get("warnings") or ())])
