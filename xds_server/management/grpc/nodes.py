"""`NodeService`: what each connected Envoy has."""

from typing import Any

from xds_server.management.grpc import calls, messages
from xds_server.management.service import Management
from xds_server.management.v1 import nodes_pb2


class NodeService:
    """Over `Management.node_page` and `node`."""

    def __init__(self, management: Management) -> None:
        self._management = management

    async def List(self, request: nodes_pb2.ListNodesRequest, _: calls.Call) -> nodes_pb2.ListNodesResponse:
        shown, following = self._management.node_page(after=request.page_token, most=calls.page_size(request))
        found = messages.page(_node(each) for each in shown)
        if len(found) < len(shown):
            following = found[-1].id
        return nodes_pb2.ListNodesResponse(nodes=found, next_page_token=following, unknown=self._management.unknown)

    async def Get(self, request: nodes_pb2.GetNodeRequest, _: calls.Call) -> nodes_pb2.Node:
        return _node(self._management.node(request.id))


def _node(shown: dict[str, Any]) -> nodes_pb2.Node:
    altered = {name: {"texts": texts} for name, texts in shown.get("altered", {}).items()}
    return messages.filled(nodes_pb2.Node, {**shown, "altered": altered})
