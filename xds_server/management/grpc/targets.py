"""`TargetService`: targets one by one, and many at a high rate."""

from typing import Any

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.overrides import override_name
from xds_server.catalog.planning import check_expected
from xds_server.catalog.store.records import OVERRIDE, UPSTREAM, Key
from xds_server.management.grpc import calls, messages
from xds_server.management.grpc.target_updates import Updates
from xds_server.management.service import Management
from xds_server.management.v1 import results_pb2, targets_pb2


class TargetService:
    """Over `Management.targets`."""

    def __init__(self, management: Management) -> None:
        self._management, self._functions = management, management.targets

    async def Get(self, request: targets_pb2.GetTargetRequest, _: calls.Call) -> targets_pb2.Target:
        return self._shown(request.upstream, self._functions.get(request.upstream, request.target))

    async def List(self, request: targets_pb2.ListTargetsRequest, _: calls.Call) -> targets_pb2.ListTargetsResponse:
        most = calls.page_size(request)
        by_name = {each["target"]: each for each in self._functions.all(request.upstream)}
        left = sorted(name for name in by_name if name > request.page_token)
        found = messages.page(self._shown(request.upstream, by_name[name]) for name in left[:most])
        following = found[-1].target if len(found) < len(left) else None
        return targets_pb2.ListTargetsResponse(targets=found, next_page_token=following)

    async def Patch(self, request: targets_pb2.PatchTargetRequest, call: calls.Call) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        patch = messages.patch_of(request.patch)
        return self._result(request, await self._functions.patch(request.upstream, request.target, patch, by, expected))

    async def Put(self, request: targets_pb2.PutTargetRequest, call: calls.Call) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        data = await calls.definition(request.json)
        return self._result(request, await self._functions.put(request.upstream, request.target, data, by, expected))

    async def Delete(self, request: targets_pb2.DeleteTargetRequest, call: calls.Call) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        return self._result(request, await self._functions.delete(request.upstream, request.target, by, expected))

    async def UpdateTargets(self, requests: Any, call: calls.Call) -> targets_pb2.UpdateTargetsResponse:
        return await Updates(self._functions, call.by, self._management.events).make(requests)

    def _shown(self, upstream: str, shown: dict[str, Any]) -> targets_pb2.Target:
        return messages.target(upstream, shown, self._functions.expected(upstream, shown["target"]))

    def _expected(self, request: Any) -> dict[Key, int] | None:
        """What the caller believes, which is judged before what is wanted. Raises ChangedMeanwhileError."""
        if not request.HasField("expected"):
            return None
        believed = (request.expected.definition_revision, request.expected.override_revision)
        expected = dict(zip(_keys(request), believed, strict=True))
        check_expected(self._management.catalog.contents, expected)
        return expected

    def _result(self, request: Any, made: Outcome) -> results_pb2.WriteResult:
        return messages.result(self._management, made, *_keys(request))


def _keys(request: Any) -> tuple[Key, Key]:
    """The records that make a target what it is."""
    return (UPSTREAM, request.upstream), (OVERRIDE, override_name(request.upstream, request.target))
