"""Options that several commands have, and how they are read."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from xds_server.upstreams.model.scalars import parse_duration, parse_instant


def one_of(kind: type[StrEnum], *flags: str, help: str, but: tuple[str, ...] = ()) -> Any:
    """An option that is one of a few words, without those in `but`; Typer's own would say `Value error` of others."""
    words = [member.value for member in kind if member not in but]

    def parse(value: str) -> StrEnum:
        if value not in words:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(words)}")
        return kind(value)

    return typer.Option(
        *flags, help=help, parser=parse, metavar=f"[{'|'.join(words)}]", autocompletion=lambda: [*words]
    )


Message = Annotated[
    str, typer.Option("-m", "--message", help="Why; kept with the revision.", show_default=False, metavar="TEXT")
]


def read_instant(option: str, text: str) -> datetime:
    """A time with its zone. Raises typer.BadParameter."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def read_seconds(option: str, text: str) -> float:
    """A duration in seconds. Raises typer.BadParameter."""
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
