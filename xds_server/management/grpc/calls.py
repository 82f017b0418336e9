"""What calls bring with them: who asks, why, and the JSON in their messages."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

from xds_server.catalog.store.records import LAST, Attribution
from xds_server.management.actor import Actor
from xds_server.management.bodies import MAX_BODY, BodyError, read_json
from xds_server.upstreams.model import Problem
from xds_server.upstreams.model.scalars import parse_duration

MAX_MESSAGE: Final = 2_000
"""Characters of the reason for a change."""
PAGE: Final = 100
MAX_PAGE: Final = 1_000
PATIENCE: Final = "30s"
"""For which Envoys are waited for, where the caller does not say."""


class Call:
    """One call that was let in."""

    def __init__(self, actor: Actor, write: Callable[[Any], Awaitable[None]]) -> None:
        self.write = write
        """Sends one of several answers. Raises AccessError when who asks is not let in any more."""
        self._actor = actor

    def by(self, message: str) -> Attribution:
        """The attribution of a change. Raises BodyError for a message that is too long."""
        if len(message) > MAX_MESSAGE:
            raise wrong("message", f"a message has at most {MAX_MESSAGE:,} characters, this one has {len(message):,}")
        return self._actor.by(message)


def client_address(peer: str) -> str:
    """The IP address in what gRPC says of a peer: ``ipv4:127.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``."""
    kind, _, place = peer.partition(":")
    return unquote(place).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


async def definition(text: str) -> Any:
    """The JSON of one definition as plain data. Raises BodyError."""
    if len(text) > MAX_BODY:
        raise wrong("json", f"a definition has at most {MAX_BODY >> 20} MiB")
    return await read_json(text)


def page_size(request: Any) -> int:
    """How many are wanted at the most. Raises BodyError."""
    if not 0 <= request.page_size <= MAX_PAGE:
        raise wrong("page_size", f"a page has 1 to {MAX_PAGE:,} entries, or 0 for {PAGE}: not {request.page_size}")
    return request.page_size or PAGE


def revision(request: Any, field: str = "revision", least: int = 1) -> int:
    """The number of a revision. Raises BodyError for what can be none."""
    number: int = getattr(request, field)
    if not least <= number <= LAST:
        raise wrong(field, f"the number of a revision is {least} to {LAST:,}, not {number}")
    return number


def waiting(request: Any) -> tuple[float, float] | None:
    """The share of the affected Envoys to wait for, and for how many seconds; None for not at all. Raises BodyError."""
    if not request.HasField("wait"):
        return None
    if not 0 <= request.wait <= 100:
        raise wrong("wait", f"a share is 0 to 100 percent, not {request.wait:g}")
    try:
        return request.wait, parse_duration(request.timeout or PATIENCE).total_seconds()
    except ValueError as error:
        raise wrong("timeout", str(error)) from None


def wrong(field: str, message: str) -> BodyError:
    """That one field of a message is wrong."""
    return BodyError([Problem((field,), message)])
