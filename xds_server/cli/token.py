"""`xds-server token`: API tokens, written to the store itself, so that the first one can be made before any server runs."""

import getpass
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from xds_server.cli.errors import fail
from xds_server.cli.options import one_of
from xds_server.cli.output import Output, Shown, Table, show
from xds_server.security.roles import Role
from xds_server.security.tokens import (
    InvalidTokenError,
    NameTakenError,
    RevokedToken,
    Token,
    TokenStore,
    create,
    is_expired,
)
from xds_server.upstreams.model.scalars import parse_duration

DEFAULT_STORE: Final = "sqlite:///xds-server.db"
COLUMNS: Final = ("name", "role", "ends", "created", "expires", "author")
OpenStore = Callable[[str], AbstractContextManager[TokenStore]]
"""Opens the tokens of the store at a URL. Raises CommandError for one that cannot be opened."""

StoreUrl = Annotated[
    str, typer.Option("--store", metavar="URL", envvar="XDS_SERVER_STORE", help="The store that `serve` uses.")
]
Name = Annotated[str, typer.Argument(help="Whose it is: changes that it makes are shown under this name.")]


def token_commands(open_store: OpenStore) -> typer.Typer:
    """The commands `token create`, `token list` and `token revoke`."""
    group = typer.Typer(help="API tokens: create, list, revoke.", no_args_is_help=True, rich_markup_mode=None)

    @group.command("create")
    def create_token(
        name: Name,
        role: Annotated[
            Role, one_of(Role, "--role", help="What it may do; each role may all that those before it may.")
        ],
        expires: Annotated[
            str | None, typer.Option(metavar="TIME", help="How long it is good for: 30d, 12h. Default: for ever.")
        ] = None,
        store: StoreUrl = DEFAULT_STORE,
    ) -> None:
        """Make a token and print it, alone, on stdout. It cannot be shown again."""
        now = datetime.now(UTC)
        try:
            until = now + _lifetime(expires) if expires is not None else None
            text, token = create(name, role, now=now, expires=until, author=_user())
        except InvalidTokenError as error:
            fail(str(error))
        try:
            with open_store(store) as tokens:
                tokens.add(token)
        except NameTakenError:
            fail(f"there is a token {name!r} already: choose another name, or `xds-server token revoke {name}` first")
        until_text = f"until {_time(until)}" if until is not None else "until it is revoked"
        typer.echo(f"xds-server: the token {name!r} may {role} {until_text}; it is shown this once:", err=True)
        typer.echo(text)

    @group.command("list")
    def list_tokens(
        output: Output = None,
        every: Annotated[
            bool, typer.Option("--all", help="Also those that were revoked: when, by whom, on which machine.")
        ] = False,
        store: StoreUrl = DEFAULT_STORE,
    ) -> None:
        """Show all tokens, by the last characters of each: who made them, and when."""
        with open_store(store) as tokens:
            found = [_shown(token) for token in tokens.tokens()]
            found += [_shown(token) for token in tokens.revoked()] if every else []
        columns = (*COLUMNS, "revoked", "revoked_by") if every else COLUMNS
        show(Shown(found, _table(found, columns)), output)

    @group.command("revoke")
    def revoke_token(name: Name, store: StoreUrl = DEFAULT_STORE) -> None:
        """Take a token away, for good. Running servers refuse it within a second; `token list --all` shows who took it away."""
        with open_store(store) as tokens:
            if not tokens.revoke(name, now=datetime.now(UTC), by=_user()):
                fail(f"there is no token {name!r}: `xds-server token list` shows those that there are")
            last = not tokens.tokens()
        typer.echo(f"xds-server: the token {name!r} is revoked", err=True)
        if last:
            typer.echo(
                "xds-server: it was the last one: whoever reaches a management port on loopback is admin again",
                err=True,
            )

    return group


def _lifetime(text: str) -> timedelta:
    if (days := re.fullmatch(r"([1-9][0-9]{0,4})d", text)) is not None:
        return timedelta(days=int(days[1]))
    try:
        return parse_duration(text)
    except ValueError:
        raise InvalidTokenError(f"--expires {text!r} is not a time: write 30d, 12h or 90m") from None


def _user() -> str:
    """Who runs this, and where: `ada@ops-1`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container, whose user has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _shown(token: Token | RevokedToken) -> dict[str, Any]:
    shown = {
        "name": token.name,
        "role": token.role.value,
        "ends": f"…{token.id}",
        "created": _time(token.created),
        "expires": _time(token.expires) if token.expires is not None else None,
        "expired": is_expired(token, datetime.now(UTC)),
        "author": token.author,
    }
    if isinstance(token, RevokedToken):
        shown |= {"revoked": _time(token.revoked), "revoked_by": token.by}
    return shown


def _table(found: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    rows = []
    for entry in found:
        expires = entry["expires"] or "never"
        shown = entry | {"expires": f"{expires} (expired)" if entry["expired"] else expires}
        rows.append([str(shown.get(column, "")) for column in columns])
    return Table([column.upper() for column in columns], rows)


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
