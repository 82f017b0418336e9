"""`/v1/nodes`: what each connected Envoy has."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from xds_server.catalog.errors import UnknownRecordError
from xds_server.management import rollouts
from xds_server.management.http.problems import documented
from xds_server.management.http.requests import Limit, Service

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])


@router.get("", responses=documented(422))
async def all_of_them(
    service: Service,
    limit: Limit = 100,
    after: Annotated[str, Query(description="Id to go on after: `next` of the page before.")] = "",
) -> dict[str, Any]:
    """Nodes that are connected, or were of late: what was sent, acknowledged and rejected. Those that poll have no stream."""
    left = [status for status in service.publisher.fleet.nodes() if status.id > after]
    page = left[:limit]
    return {"nodes": [rollouts.node(each) for each in page], "next": page[-1].id if len(left) > limit else None}


@router.get("/{node_id:path}", responses=documented(404))
async def one(service: Service, node_id: str) -> dict[str, Any]:
    """One node, and what of its definitions it cannot be given as written."""
    status = service.publisher.fleet.node(node_id)
    if status is None:
        raise UnknownRecordError("node", node_id, ": it is not connected, and was not of late")
    known = next((node for node in service.nodes() if node.id == node_id), None)
    altered = service.publisher.warnings(known) if known is not None else {}
    return {**rollouts.node(status), "altered": {name: [*warnings] for name, warnings in sorted(altered.items())}}
