"""What became of a change: which revision it made, whether it is held, and who has it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from xds_server.cli.errors import HELD, fail, say
from xds_server.cli.output import Format, Shown, text

Answer = Mapping[str, Any]
MOST: Final = 10
"""Names that one line shows."""


def tell(answer: Answer, output: Format | None, sentence: str = "", *, waited: bool = False) -> None:
    """Print the answer to a change. `sentence`: what was done, for people; default: what it changed. `waited`: the server
    was to wait for Envoys.

    Raises CommandError for a revision that is held, and where not so many Envoys took it as were to.
    """
    for warning in answer.get("warnings") or ():
        say(lint(warning))
    held = answer.get("state") == "held"
    if output in (Format.JSON, Format.YAML):
        typer.echo(text(Shown(answer), output), nl=False)
    elif not held:
        typer.echo(f"{heading(answer)}{sentence or ', '.join(changed(answer))}")
    if held:
        fail(f"revision {answer['revision']} is held: {answer.get('note', '')}", HELD)
    if waited:
        _tell_wait(answer, output)


def heading(answer: Answer) -> str:
    """`revision 12: `, or that there is none."""
    return f"revision {answer['revision']}: " if answer.get("changed") else "nothing had to change: "


def changed(answer: Answer) -> Iterator[str]:
    """Which records a revision changed: `upstream payments changed`."""
    changes = answer.get("changes") or []
    yield from (f"{one['kind']} {one['name']} {one['action']}" for one in changes[:MOST])
    if len(changes) > MOST:
        yield f"and {len(changes) - MOST} more"
    if not changes:
        yield f"revision {answer['revision']} says the same"


def lint(one: Mapping[str, Any]) -> str:
    """A warning of the server about an upstream."""
    place = ": ".join(part for part in (f"upstream {one.get('upstream')}", one.get("field")) if part)
    words = "; ".join(str(one[part]) for part in ("message", "fix") if one.get(part))
    return f"{place}: warning: {words} [{one.get('code', '')}]"


def blamed(one: Any) -> str:
    """The definition that an Envoy rejects: `upstream payments, tls.ca_file`."""
    if not isinstance(one, Mapping):
        return str(one)
    return f"{one.get('kind')} {one.get('name')}" + (f", {one['field']}" if one.get("field") else "")


def _tell_wait(answer: Answer, output: Format | None) -> None:
    found: Mapping[str, Any] = answer.get("wait") or {}
    number = answer["revision"]
    if "ok" not in found:
        fail(f"revision {number} is in force, but the server does not say who has acknowledged it")
    for line in missing(found):
        say(line)
    if not found["ok"]:
        fail(f"revision {number} is in force, but {found.get('detail', 'not all Envoys have it')}")
    if output not in (Format.JSON, Format.YAML):
        # Said only where it is known: what is warm serves.
        warm = f", {found['warm']} of them warm" if found.get("warm") else ""
        typer.echo(f"revision {number}: {found.get('detail', 'enough Envoys acknowledged it')}{warm}")


def missing(found: Mapping[str, Any]) -> Iterator[str]:
    """Who has not acknowledged a revision, and why, a line for each."""
    for one in found.get("rejected") or ():
        kind = str(one.get("type", "")).rpartition(".")[2]
        about = [*map(blamed, one.get("upstreams") or one.get("culprits") or ())][:MOST]
        named = f" ({'; '.join(about)})" if about else ""
        yield f"{one.get('node')} rejected its {kind or 'resources'}{named}: {one.get('detail', '')}"
    for one in found.get("pending") or ():
        yield f"{one.get('node')} has not acknowledged it: {one.get('what', '')}".rstrip(": ")
    for replica in found.get("awaited_replicas") or ():
        yield f"replica {replica} does not serve it yet: its Envoys are not known to have it"
