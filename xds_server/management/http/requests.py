"""What requests bring with them: who asks, what they believe, and the body."""

from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from starlette.exceptions import HTTPException

from xds_server.management.actor import Actor
from xds_server.management.bodies import MAX_BODY, read_json
from xds_server.management.service import Management

MAX_DOCUMENT: Final = 256 * 1024 * 1024
"""Bytes of a whole document."""


def management(request: Request) -> Management:
    """The functions behind the API."""
    found: Management = request.app.state.management
    return found


def actor(request: Request) -> Actor:
    """Who asks: as `AccessControl` found out, where it stands in front."""
    client = request.client.host if request.client is not None else ""
    return getattr(request.state, "actor", None) or Actor("local", client)


Service = Annotated[Management, Depends(management)]
Caller = Annotated[Actor, Depends(actor)]
Message = Annotated[str, Query(max_length=2000, description="Why; kept with the revision.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at the most.")]


async def body(request: Request, most: int = MAX_BODY) -> Any:
    """The body as plain data. Raises HTTPException for one that is too large, BodyError for one that is no JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/merge-patch+json"):
        raise HTTPException(415, f"a body is application/json, not {kind[:100]}")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most:
            raise HTTPException(413, f"a body here has at most {most >> 20} MiB")
    return await read_json(bytes(raw))


def etag(*revisions: int) -> str:
    """The entity tag of what these revisions made."""
    return f'"{"-".join(map(str, revisions))}"'


def precondition(request: Request, *current: int) -> tuple[int, ...] | None:
    """What the caller believes of the revisions that made something (0: nothing there), which are `current`: these, when the
    caller says so (If-Match, If-None-Match), or None when it says nothing. Raises HTTPException when it believes otherwise."""
    exists = current[0] != 0
    if (match := request.headers.get("if-match")) is not None:
        tags = [tag.strip() for tag in match.split(",")]
        if not exists or ("*" not in tags and etag(*current) not in tags):
            now = f"is at {etag(*current)}" if exists else "does not exist (any more)"
            raise HTTPException(412, f"what If-Match {match[:100]} means {now}: read it again, and repeat the change")
        return current
    if (match := request.headers.get("if-none-match")) is not None:
        if match.strip() == "*" and exists:
            raise HTTPException(412, f"it exists already, at {etag(*current)}: leave If-None-Match out to replace it")
        return current if match.strip() == "*" else None
    return None
