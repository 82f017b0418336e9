"""All commands together."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from xds_server import __version__
from xds_server.cli.applying import apply
from xds_server.cli.bootstrap import bootstrap
from xds_server.cli.completing import mend_words
from xds_server.cli.definitions import schema, translate, validate
from xds_server.cli.deleting import delete
from xds_server.cli.demo import demo
from xds_server.cli.errors import fail, reported
from xds_server.cli.explaining import explain
from xds_server.cli.history import confirm, diff, history, rollback
from xds_server.cli.operating import disable, drain, enable, reset, weight
from xds_server.cli.reading import get
from xds_server.cli.serve import serve
from xds_server.cli.token import token_commands
from xds_server.security.tokens import TokenStore

app = typer.Typer(
    name="xds-server",
    help="A standalone Envoy control plane: upstream definitions in, Envoy resources out over xDS.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@contextmanager
def _open_tokens(url: str) -> Iterator[TokenStore]:
    from xds_server.catalog.store.engine import StoreError  # late: SQLAlchemy takes a third of a second
    from xds_server.catalog.store.tokens import open_tokens

    try:
        with open_tokens(url) as tokens:
            yield tokens
    except StoreError as error:
        fail(str(error))


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    """A standalone Envoy control plane: upstream definitions in, Envoy resources out over xDS."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    *(serve, validate, translate, bootstrap),
    *(apply, drain, enable, disable, weight, reset, explain),
    *(history, diff, rollback, confirm),
    *(schema, demo),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(get, name="get")
app.add_typer(delete, name="delete")
app.add_typer(token_commands(_open_tokens), name="token")


def run() -> None:
    """Run the one that the arguments name."""
    from xds_server import log

    log.configure("text", "warning")  # to stderr: stdout is for what was asked for
    mend_words(os.environ)
    with reported():
        app()
