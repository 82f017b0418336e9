"""All commands together."""

from typing import Annotated

import typer

from xds_server import __version__
from xds_server.cli.bootstrap import bootstrap
from xds_server.cli.definitions import schema, translate, validate
from xds_server.cli.demo import demo
from xds_server.cli.errors import reported
from xds_server.cli.serve import serve

app = typer.Typer(
    name="xds-server",
    help="A standalone Envoy control plane: upstream definitions in, Envoy resources out over xDS.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    """A standalone Envoy control plane: upstream definitions in, Envoy resources out over xDS."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


for command in (serve, validate, translate, bootstrap, schema, demo):
    app.command()(command)


def run() -> None:
    """Run the one that the arguments name."""
    from xds_server import log

    log.configure("text", "warning")  # to stderr: stdout is for what was asked for
    with reported():
        app()
