"""Commands that talk to a running server: the options that say which one, and how."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from xds_server.cli.client import Client

DEFAULT: Final = "http://127.0.0.1:18080"
URL: Final = "XDS_SERVER_URL"
TOKEN: Final = "XDS_SERVER_TOKEN"
VARIABLES: Final = (URL, TOKEN, "XDS_SERVER_CA", "XDS_SERVER_CERT", "XDS_SERVER_KEY")

P = ParamSpec("P")


def _options(
    *,
    server: Annotated[str, typer.Option(metavar="URL", envvar=URL, help="The server's HTTP address.")] = DEFAULT,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", envvar=TOKEN, help="API token; better in the variable, which `ps` does not show."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="XDS_SERVER_CA", help="CA that signed its certificate.")
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="XDS_SERVER_CERT", help="Client certificate that is shown to it."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="XDS_SERVER_KEY", help="Key of the client certificate.")
    ] = None,
) -> Client:
    return Client(server, token=token, ca=ca, cert=cert, key=key)


OPTIONS: Final = tuple(inspect.signature(_options, eval_str=True).parameters.values())
"""What `connected` adds to a command."""


def connected(command: Callable[Concatenate[Client, P], None]) -> Callable[..., None]:
    """`command` with options that say which server it talks to, instead of its first parameter, a client of that server."""
    own = [*inspect.signature(command, eval_str=True).parameters.values()][1:]
    call: Callable[..., None] = command

    def run(**given: Any) -> None:
        with _options(**{option.name: given.pop(option.name) for option in OPTIONS}) as client:
            call(client, **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *OPTIONS])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run
