"""`/v1/upstreams/{name}/targets`: targets one by one. PATCH is for operators: what it says lies over the definition."""

from typing import Any

from fastapi import APIRouter, Request, Response

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.store.records import Key
from xds_server.management.http.definitions import ERRORS, After, Labels, Prefix, labels, written
from xds_server.management.http.problems import documented
from xds_server.management.http.requests import Caller, Limit, Message, Service, body, etag, precondition
from xds_server.management.service import Management

router = APIRouter(prefix="/v1/upstreams/{name}/targets", tags=["targets"])
of_all = APIRouter(prefix="/v1/targets", tags=["targets"])
_TAKES = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Target"}}},
    }
}
_PATCHES = {
    "requestBody": {
        "required": True,
        "content": {"application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/TargetOverride"}}},
    }
}


@of_all.get("", responses=documented(422))
async def of_all_upstreams(
    service: Service, limit: Limit = 100, after: After = "", prefix: Prefix = "", label: Labels = None
) -> dict[str, Any]:
    """The targets of many upstreams as they are served; `limit`, `after`, `prefix` and `label` are about the upstreams."""
    page = service.upstreams.page(labels=labels(label), after=after, most=limit, prefix=prefix)
    found = [{"upstream": name, **target} for name in page.names for target in service.targets.all(name)]
    return {"targets": found, "next": page.next}


@router.get("", responses=documented(404))
async def all_of_them(service: Service, name: str) -> dict[str, Any]:
    """The targets as they are served, with what operators laid over them."""
    return {"targets": service.targets.all(name)}


@router.get("/{target}", responses=documented(404))
async def one(service: Service, name: str, target: str, response: Response) -> dict[str, Any]:
    """One target (``host:port``) as it is served."""
    shown = service.targets.get(name, target)
    response.headers["ETag"] = etag(*service.targets.expected(name, target).values())
    return shown


@router.patch("/{target}", responses=documented(*ERRORS, held=True), openapi_extra=_PATCHES)
async def patch(
    service: Service,
    caller: Caller,
    request: Request,
    response: Response,
    name: str,
    target: str,
    message: Message = "",
) -> dict[str, Any]:
    """Lay `state`, `weight`, `drain_until` and `expires` over it; null takes one away."""
    expected = _expected(service, request, name, target)
    made = await service.targets.patch(name, target, await body(request), caller.by(message), expected)
    return written(service, made, response, *_after(service, made, name, target))


@router.put("/{target}", responses=documented(*ERRORS, held=True), openapi_extra=_TAKES)
async def put(
    service: Service,
    caller: Caller,
    request: Request,
    response: Response,
    name: str,
    target: str,
    message: Message = "",
) -> dict[str, Any]:
    """Define it in its upstream; host and port may be left out of the body."""
    expected = _expected(service, request, name, target)
    made = await service.targets.put(name, target, await body(request), caller.by(message), expected)
    return written(service, made, response, *_after(service, made, name, target))


@router.delete("/{target}", responses=documented(*ERRORS, held=True))
async def delete(
    service: Service,
    caller: Caller,
    request: Request,
    response: Response,
    name: str,
    target: str,
    message: Message = "",
) -> dict[str, Any]:
    """Take it out of its upstream, with what lies over it."""
    expected = _expected(service, request, name, target)
    made = await service.targets.delete(name, target, caller.by(message), expected)
    return written(service, made, response)


def _expected(service: Management, request: Request, name: str, target: str) -> dict[Key, int] | None:
    current = service.targets.expected(name, target)
    return current if precondition(request, *current.values()) is not None else None


def _after(service: Management, made: Outcome, name: str, target: str) -> list[int]:
    """The revisions that made a target what a write left it."""
    return [made.revision_of(key, revision) for key, revision in service.targets.expected(name, target).items()]
