"""`xds-server delete`: definitions out of a running server."""

from typing import Annotated

import typer

from xds_server.cli.client import Client
from xds_server.cli.completing import gateway_names, target_names, upstream_names
from xds_server.cli.connection import connected
from xds_server.cli.options import Message
from xds_server.cli.outcome import tell
from xds_server.cli.output import AsData

delete = typer.Typer(help="Remove definitions from a running server.", no_args_is_help=True)


@delete.command("upstream")
@connected
def upstream(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=upstream_names, help="Its name.")],
    message: Message = "",
    output: AsData = None,
) -> None:
    """Remove an upstream, with what operators laid over its targets. Exit code 3: the guard holds it until `confirm`."""
    tell(client.send("DELETE", "upstreams", name, query={"message": message}), output)


@delete.command("gateway")
@connected
def gateway(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=gateway_names, help="Its name.")],
    message: Message = "",
    output: AsData = None,
) -> None:
    """Remove a gateway: its Envoys stop to listen there."""
    tell(client.send("DELETE", "gateways", name, query={"message": message}), output)


@delete.command("target")
@connected
def target(
    client: Client,
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", autocompletion=upstream_names, help="Its name.")],
    target: Annotated[
        str, typer.Argument(metavar="HOST:PORT", autocompletion=target_names, help="One of its targets.")
    ],
    message: Message = "",
    output: AsData = None,
) -> None:
    """Take a target out of its upstream, with what lies over it. `drain` it first, so that no request fails."""
    tell(client.send("DELETE", "upstreams", upstream, "targets", target, query={"message": message}), output)
