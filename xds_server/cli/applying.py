"""`xds-server apply`: definitions to a running server, all of them or nothing, as one revision."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from xds_server.cli.client import Client
from xds_server.cli.connection import connected
from xds_server.cli.differences import TRIAL, WithEnvoy, show_differences, tell_trial
from xds_server.cli.errors import fail, say
from xds_server.cli.options import Message, read_seconds
from xds_server.cli.outcome import tell
from xds_server.cli.output import AsData
from xds_server.cli.problems import RefusedError

Wait = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE", help="Wait until this share of the affected Envoys has acknowledged it, for example 95%."
    ),
]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="How long --wait waits, 10m at the most.")]
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%?")


@connected
def apply(
    client: Client,
    file: Annotated[
        list[Path],
        typer.Option(
            "-f", "--file", metavar="PATH", help="Definition file, or directory of them; repeatable. -: stdin."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: print what would differ, and for how many Envoys.")
    ] = False,
    with_envoy: WithEnvoy = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove what came through the API and is not in the files.")
    ] = False,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Add and replace what definition files name, all of it or nothing, as one revision.

    --dry-run prints a heading for each record and the lines that come (+) and go (-). With --with-envoy exit code 1 also means
    that Envoy refuses something of it: what, goes to stderr, in Envoy's words. Exit code 3: the guard holds it, as it
    would remove very much; it serves nothing until `confirm`. With --wait exit code 1 also means that not enough Envoys
    acknowledged it in time; it is in force then.
    """
    from xds_server.cli.written import Written  # late: with it comes the reader of YAML

    waited, patience = read_wait(wait, timeout)
    if with_envoy and not dry_run:
        raise typer.BadParameter("only with --dry-run", param_hint="--with-envoy")
    written = Written()
    written.read(file)
    if written.problems:
        _refuse(sorted(map(str, written.problems)))
    query: dict[str, Any] = {"with_envoy": with_envoy, "dry_run": True} if dry_run else {**waited, "message": message}
    query["prune"] = prune
    patience += TRIAL if with_envoy else 0
    try:
        answer = client.send("POST", "apply", body=written.document, query=query, patience=patience)
    except RefusedError as error:
        located = [written.locate(wrong) for wrong in error.wrong]
        if not any(located):
            raise
        _refuse(
            [
                str(place) if place is not None else f"{wrong.pointer or '/'}: {wrong.detail}"
                for wrong, place in zip(error.wrong, located, strict=True)
            ]
        )
    if dry_run:
        show_differences(answer, output, "nothing would change")
        if answer.get("held"):
            say(f"the guard would hold it: {answer['held']}")
        tell_trial(answer, written.place)
    else:
        tell(answer, output, waited=wait is not None)


def wait_for(client: Client, answer: Any, waited: dict[str, str], patience: float) -> Any:
    """The answer to a change, with what came of waiting for its revision. `waited`: see `read_wait`; empty for not at all."""
    if not waited or answer.get("state") == "held":
        return answer
    found = client.send("GET", "revisions", str(answer["revision"]), query=waited, patience=patience)
    return {**answer, "wait": found.get("wait")}


def read_wait(wait: str | None, timeout: str) -> tuple[dict[str, str], float]:
    """What a request says of waiting, and the seconds that it may take. Raises typer.BadParameter."""
    patience = read_seconds("--timeout", timeout)
    if wait is None:
        return {}, 0
    match = _SHARE.fullmatch(wait)
    if match is None or float(match[1]) > 100:
        raise typer.BadParameter(f"{wait!r} is not a share: write 95% or 100%", param_hint="--wait")
    return {"wait": match[1], "timeout": f"{round(patience * 1000)}ms"}, patience


def _refuse(lines: list[str]) -> NoReturn:
    for line in lines:
        typer.echo(line, err=True)
    fail(f"nothing was applied: {len(lines)} problem{'s' if len(lines) != 1 else ''}")
