"""What a server says when it does not do what it was asked for, in words for people. Pure."""

import json
from typing import Any, Final, NamedTuple

from xds_server.cli.errors import CommandError

LONGEST: Final = 300
"""Characters that are shown of an answer that is none of ours."""


class Wrong(NamedTuple):
    """One thing that is wrong with what was sent."""

    pointer: str
    """Where in it: a JSON pointer; empty for all of it."""
    detail: str


class RefusedError(CommandError):
    """The server answered, and refused. Its text is the whole sentence."""

    def __init__(self, message: str, status: int, wrong: list[Wrong]) -> None:
        super().__init__(message)
        self.status, self.wrong = status, wrong


def refusal(url: str, status: int, body: str, *, with_token: bool) -> RefusedError:
    """The error for an answer: from its problem document (RFC 9457), or, where it is none, from what there is."""
    problem = _problem(body)
    if problem is None:
        said = " ".join(body.split())[:LONGEST]
        what = f"{url} answered {status}" + (f" and said {said!r}" if said else "")
        return RefusedError(f"{what}: is an xds-server there?", status, [])
    detail = str(problem["detail"])
    errors = problem.get("errors")
    wrong = [
        Wrong(str(each.get("pointer", "")), str(each.get("detail", "")))
        for each in (errors if isinstance(errors, list) else ())
        if isinstance(each, dict)
    ]
    if len(wrong) > 1:
        lines = "".join(f"\n  {each.pointer or '/'}: {each.detail}" for each in wrong)
        detail = f"{problem.get('title', 'refused')}:{lines}"
    elif wrong and wrong[0].pointer:
        detail += f" (at {wrong[0].pointer})"
    if status == 401 and not with_token:
        detail += "; give a token with --token or XDS_SERVER_TOKEN"
    return RefusedError(detail, status, wrong)


def _problem(body: str) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "detail" in found else None
