"""`UpstreamService` and `GatewayService`: definitions one by one."""

from typing import Any

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.planning import check_expected
from xds_server.catalog.store.records import UPSTREAM
from xds_server.management.definitions import Definitions
from xds_server.management.grpc import calls, messages
from xds_server.management.service import Management
from xds_server.management.v1 import definitions_pb2, results_pb2


class DefinitionService:
    """Both services, which differ in the kind of what they are about."""

    def __init__(self, management: Management, kind: str, functions: Definitions) -> None:
        self._management, self._kind, self._functions = management, kind, functions

    async def Get(self, request: definitions_pb2.GetDefinitionRequest, _: calls.Call) -> definitions_pb2.Definition:
        return self._shown(request.name)

    async def List(
        self, request: definitions_pb2.ListDefinitionsRequest, _: Any
    ) -> definitions_pb2.ListDefinitionsResponse:
        if request.labels and self._kind != UPSTREAM:
            raise calls.wrong("labels", f"a {self._kind} has no labels")
        page = self._functions.page(labels=request.labels, after=request.page_token, most=calls.page_size(request))
        found = messages.page(self._shown(name) for name in page.names)
        following = page.next if len(found) == len(page.names) else found[-1].name
        return definitions_pb2.ListDefinitionsResponse(definitions=found, next_page_token=following)

    async def Put(self, request: definitions_pb2.PutDefinitionRequest, call: calls.Call) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        return self._result(
            request.name, await self._functions.put(request.name, await calls.definition(request.json), by, expected)
        )

    async def Patch(self, request: definitions_pb2.PatchDefinitionRequest, call: calls.Call) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        self._functions.get(request.name)
        return self._result(
            request.name, await self._functions.patch(request.name, await calls.definition(request.json), by, expected)
        )

    async def Delete(
        self, request: definitions_pb2.DeleteDefinitionRequest, call: calls.Call
    ) -> results_pb2.WriteResult:
        expected, by = self._expected(request), call.by(request.message)
        return self._result(request.name, await self._functions.delete(request.name, by, expected))

    def _shown(self, name: str) -> definitions_pb2.Definition:
        return messages.definition(self._management.catalog.contents, self._functions.get(name), name)

    def _expected(self, request: Any) -> int | None:
        """What the caller believes, which is judged before what is wanted. Raises ChangedMeanwhileError."""
        if not request.HasField("expected_revision"):
            return None
        expected: int = request.expected_revision
        check_expected(self._management.catalog.contents, {(self._kind, request.name): expected})
        return expected

    def _result(self, name: str, made: Outcome) -> results_pb2.WriteResult:
        return messages.result(self._management, made, (self._kind, name))
