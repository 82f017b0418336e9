"""`RevisionService`: whole documents in, history out, and revisions as they are committed."""

from functools import lru_cache

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.store.records import LAST
from xds_server.management.bodies import read_json
from xds_server.management.events import Event
from xds_server.management.grpc import calls, messages
from xds_server.management.service import Management
from xds_server.management.v1 import results_pb2, revisions_pb2


class RevisionService:
    """Over `Management.applying`, `history` and `events`."""

    def __init__(self, management: Management) -> None:
        self._management = management

    async def Apply(self, request: revisions_pb2.ApplyRequest, call: calls.Call) -> revisions_pb2.ApplyResponse:
        by, waiting = call.by(request.message), calls.waiting(request)
        if request.with_envoy and not request.dry_run:
            raise calls.wrong("with_envoy", "an Envoy only looks at what a dry run would do")
        data = await read_json(request.json)
        if request.dry_run:
            preview = await self._management.preview(data, by, prune=request.prune, with_envoy=request.with_envoy)
            return revisions_pb2.ApplyResponse(preview=messages.filled(revisions_pb2.Preview, preview))
        made = await self._management.applying.apply(data, by, prune=request.prune)
        return await self._applied(made, waiting)

    async def List(
        self, request: revisions_pb2.ListRevisionsRequest, _: calls.Call
    ) -> revisions_pb2.ListRevisionsResponse:
        most = calls.page_size(request)
        shown = await self._management.revision_page(before=_before(request.page_token), most=most)
        found = messages.page(messages.filled(revisions_pb2.Revision, each) for each in shown)
        is_last = len(found) == len(shown) < most
        following = "" if is_last else str(found[-1].revision)
        return revisions_pb2.ListRevisionsResponse(revisions=found, next_page_token=following)

    async def Get(self, request: revisions_pb2.GetRevisionRequest, _: calls.Call) -> revisions_pb2.Revision:
        number, waiting = calls.revision(request), calls.waiting(request)
        shown = await self._management.revision(number, waiting)
        waited = {"wait": {**shown["wait"], "delivery": shown["wait"]}} if "wait" in shown else {}
        return messages.filled(revisions_pb2.Revision, {**shown, **waited})

    async def Diff(self, request: revisions_pb2.DiffRequest, _: calls.Call) -> revisions_pb2.Preview:
        history, number = self._management.history, calls.revision(request)
        if request.HasField("to"):
            found = await history.between(number, calls.revision(request, "to"))
        else:
            found = await history.changed_by(number)
        shown = await self._management.shown(found, with_envoy=request.with_envoy)
        return messages.filled(revisions_pb2.Preview, shown)

    async def Rollback(self, request: revisions_pb2.RollbackRequest, call: calls.Call) -> revisions_pb2.ApplyResponse:
        by, waiting = call.by(request.message), calls.waiting(request)
        history = self._management.history
        made = await history.rollback(calls.revision(request), by, with_overrides=request.with_overrides)
        return await self._applied(made, waiting)

    async def Confirm(self, request: revisions_pb2.ConfirmRequest, call: calls.Call) -> results_pb2.WriteResult:
        by = call.by(request.message)
        return messages.result(self._management, await self._management.history.confirm(calls.revision(request), by))

    async def Watch(self, request: revisions_pb2.WatchRequest, call: calls.Call) -> None:
        known = calls.revision(request, "after_revision", 0) if request.HasField("after_revision") else None
        reader = await self._management.events.reader(known)
        await call.write(revisions_pb2.WatchResponse(revision=reader.after))
        while True:
            await call.write(_committed(await reader.next()))

    async def _applied(self, made: Outcome, waiting: tuple[float, float] | None) -> revisions_pb2.ApplyResponse:
        answer = revisions_pb2.ApplyResponse(result=messages.result(self._management, made))
        if waiting is not None and not made.is_held:
            shown = await self._management.wait(made.number, *waiting)
            answer.wait.CopyFrom(messages.filled(revisions_pb2.WaitResult, {**shown, "delivery": shown}))
        return answer


@lru_cache(maxsize=64)  # those who watch are all told the same
def _committed(event: Event) -> revisions_pb2.WatchResponse:
    revision = messages.filled(revisions_pb2.Revision, event.data)
    count = event.data["change_count"]
    return revisions_pb2.WatchResponse(revision=event.number, committed=revision, change_count=count)


def _before(token: str) -> int | None:
    if token and not (token.isascii() and token.isdigit() and 0 < int(token[:20]) <= LAST):
        raise calls.wrong("page_token", f"{token[:100]!r} was never the next_page_token of a page")
    return int(token) if token else None
