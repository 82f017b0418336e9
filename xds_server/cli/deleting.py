"""`xds-server delete`: definitions out of a running server."""

from typing import Annotated

import typer

from xds_server.cli.applying import Timeout, Wait, read_wait, wait_for
from xds_server.cli.client import Client
from xds_server.cli.completing import gateway_names, target_names, upstream_names
from xds_server.cli.connection import connected
from xds_server.cli.options import Message
from xds_server.cli.outcome import tell
from xds_server.cli.output import AsData, Format

delete = typer.Typer(help="Remove definitions from a running server.", no_args_is_help=True)


@delete.command("upstream")
@connected
def upstream(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=upstream_names, help="Its name.")],
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Remove an upstream, with what operators laid over its targets. Exit code 3: the guard holds it until `confirm`."""
    _remove(client, ("upstreams", name), (wait, timeout), message, output)


@delete.command("gateway")
@connected
def gateway(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=gateway_names, help="Its name.")],
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Remove a gateway: its Envoys stop to listen there."""
    _remove(client, ("gateways", name), (wait, timeout), message, output)


@delete.command("target")
@connected
def target(
    client: Client,
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", autocompletion=upstream_names, help="Its name.")],
    target: Annotated[
        str, typer.Argument(metavar="HOST:PORT", autocompletion=target_names, help="One of its targets.")
    ],
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Take a target out of its upstream, with what lies over it. `drain` it first, so that no request fails."""
    _remove(client, ("upstreams", upstream, "targets", target), (wait, timeout), message, output)


def _remove(
    client: Client, path: tuple[str, ...], wait: tuple[str | None, str], message: str, output: Format | None
) -> None:
    """`wait`: for which share of the Envoys, and for how long."""
    waited, patience = read_wait(*wait)
    answer = client.send("DELETE", *path, query={"message": message})
    tell(wait_for(client, answer, waited, patience), output, waited=bool(waited))
