"""`xds-server history`, `diff`, `rollback`, `confirm`: what was, and the ways back to it."""

from typing import Annotated

import typer

from xds_server.cli.applying import Timeout, Wait, read_wait, wait_for
from xds_server.cli.client import Client
from xds_server.cli.completing import revision_numbers
from xds_server.cli.connection import connected
from xds_server.cli.differences import TRIAL, WithEnvoy, show_differences, tell_trial
from xds_server.cli.options import Message
from xds_server.cli.outcome import changed, tell
from xds_server.cli.output import AsData, Output, show
from xds_server.cli.reading import Limit, Watch, newest
from xds_server.cli.watching import watch as follow

Revision = Annotated[int, typer.Argument(min=1, metavar="REV", autocompletion=revision_numbers, help="Its number.")]


@connected
def history(client: Client, limit: Limit = 100, output: Output = None, watch: Watch = False) -> None:
    """Revisions from the newest back: when, who, and why."""
    if watch:
        follow(lambda: newest(client, limit), output)
    else:
        show(newest(client, limit), output)


@connected
def diff(
    client: Client,
    revision: Revision,
    to: Annotated[
        int | None, typer.Argument(min=1, metavar="REV", autocompletion=revision_numbers, help="A second revision.")
    ] = None,
    with_envoy: WithEnvoy = False,
    output: AsData = None,
) -> None:
    """What a revision changed, or what differs between the states as of two, and for how many Envoys now.

    --with-envoy has Envoy load what is different afterwards: of a revision that is held before it is confirmed, say. Exit
    code 1 also means that it refuses something of it.
    """
    query = {"to": to, "with_envoy": with_envoy}
    patience = TRIAL if with_envoy else 0
    answer = client.send("GET", "revisions", str(revision), "diff", query=query, patience=patience)
    show_differences(answer, output, "nothing differs")
    tell_trial(answer)


@connected
def rollback(
    client: Client,
    revision: Revision,
    with_overrides: Annotated[
        bool, typer.Option("--with-overrides", help="Also what operators laid over targets: drains, weights.")
    ] = False,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Go back to what was in force as of a revision, in a new revision.

    Exit codes as for `apply`. What files define goes back with these.
    """
    waited, patience = read_wait(wait, timeout)
    query = {**waited, "with_overrides": with_overrides, "message": message}
    answer = client.send("POST", "revisions", str(revision), "rollback", query=query, patience=patience)
    sentence = f"back to revision {revision}: {', '.join(changed(answer))}" if answer.get("changed") else ""
    tell(answer, output, sentence, waited=wait is not None)


@connected
def confirm(
    client: Client,
    revision: Revision,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Put in force what the guard held."""
    waited, patience = read_wait(wait, timeout)
    answer = client.send("POST", "revisions", str(revision), "confirm", query={"message": message})
    answer = wait_for(client, answer, waited, patience)
    sentence = f"what revision {revision} held is in force: {', '.join(changed(answer))}"
    tell(answer, output, sentence, waited=bool(waited))
