"""`/v1/events`: revisions as they are committed, as server-sent events, for browsers, `curl -N` and scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from xds_server.catalog.errors import RefusedError
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import LAST
from xds_server.management.events import EndedError, Events, Reader
from xds_server.management.http.problems import documented
from xds_server.management.http.requests import Service
from xds_server.security.access import AccessError

KEEPALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the connection for a dead one."""
PARTING: Final = 1.0
"""Seconds that a client has to take the last event when the server stops."""
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events until the client leaves. `revision`: its id is the number, its data as `/v1/revisions/{n}`, "
        "with at most 1,000 of the changes, and `change_count`. `end`: there is no more, as `detail` says; go on after "
        "`after`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **documented(404, 422, 503),
}
After = Annotated[
    int | None, Query(ge=0, le=LAST, description="The last revision that is known. Without: those from now on.")
]
LastEventId = Annotated[
    int | None, Header(ge=0, le=LAST, description="The same, as browsers say it by themselves; it wins.")
]

router = APIRouter(prefix="/v1/events", tags=["revisions"])


@router.get("", response_class=Response, responses=ANSWERS)
async def all_of_them(
    request: Request, service: Service, after: After = None, last_event_id: LastEventId = None
) -> Response:
    """Revisions as they are committed, without a gap."""
    reader = await service.events.reader(after if last_event_id is None else last_event_id)
    return _Following(service.events, told(reader, getattr(request.state, "admit", None)))


class _Following(Response):
    """Sends texts until there are no more, the client leaves, or the server stops."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, texts: AsyncIterator[str]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._texts = events, texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The first may be stuck as the client reads nothing, which must not hold up the stop of the server.
        parts = (self._tell(send), _until_left(receive), self._until_stopped())
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for text in self._texts:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_stopped(self) -> None:
        await self._events.until_ended()
        await asyncio.sleep(PARTING)


async def told(reader: Reader, admit: Callable[[], Awaitable[object]] | None = None) -> AsyncIterator[str]:
    """What is sent to a client, part by part. `admit`: raises AccessError when it is not let in any more."""
    last = reader.after
    yield f"id: {last}\n\n"  # no event, but browsers come back with it
    while True:
        try:
            async with asyncio.timeout(KEEPALIVE):
                event = await reader.next()
            if admit is not None:
                await admit()
        except TimeoutError:
            yield ":\n\n"
        except (EndedError, AccessError, RefusedError, StoreError) as error:
            yield _event("end", {"detail": str(error), "after": last})
            return
        else:
            last = event.number
            yield f"id: {event.number}\n{_event('revision', event.data)}"


def _event(kind: str, data: Mapping[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
