"""`/v1/nodes`: what each connected Envoy has."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from xds_server.management.http.problems import documented
from xds_server.management.http.requests import Limit, Service

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])


@router.get("", responses=documented(422))
async def all_of_them(
    service: Service,
    limit: Limit = 100,
    after: Annotated[str, Query(description="Id to go on after: `next` of the page before.")] = "",
) -> dict[str, Any]:
    """Nodes that are connected to any replica, or were of late: what was sent, acknowledged and rejected. Those that poll have
    no stream. `unknown`: why those of other replicas may be missing; empty where none is."""
    page, following = service.node_page(after=after, most=limit)
    return {"nodes": page, "next": following, "unknown": service.unknown}


@router.get("/{node_id:path}", responses=documented(404))
async def one(service: Service, node_id: str) -> dict[str, Any]:
    """One node, and what of its definitions it cannot be given as written."""
    return service.node(node_id)
