"""`/v1/apply` and `/v1/revisions`: whole documents in, history out."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.exceptions import HTTPException

from xds_server.catalog.store.records import LAST
from xds_server.management.http.definitions import ERRORS, written
from xds_server.management.http.problems import documented
from xds_server.management.http.requests import MAX_DOCUMENT, Caller, Limit, Message, Service, body

router = APIRouter(prefix="/v1", tags=["revisions"])
_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
_DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Document"}}},
    }
}
Number = Annotated[int, Path(ge=1, le=LAST, description="Number of a revision.")]
Share = Annotated[
    str | None, Query(pattern=r"^\d{1,3}(\.\d+)?%?$", description="Percent of the affected Envoys to wait for.")
]
WithEnvoy = Annotated[
    bool, Query(description="Have a real Envoy, of the server's machine, load what changes (role write).")
]
Timeout = Annotated[
    str, Query(alias="timeout", pattern=r"^\d+(\.\d+)?(ms|s|m)?$", description="How long to wait, for example 30s.")
]


@router.post("/apply", responses=documented(*ERRORS, held=True), openapi_extra=_DOCUMENT)
async def apply(
    service: Service,
    caller: Caller,
    request: Request,
    response: Response,
    dry_run: bool = False,
    prune: Annotated[bool, Query(description="Take away what else came through the API.")] = False,
    with_envoy: WithEnvoy = False,
    wait: Share = None,
    patience: Timeout = "30s",
    message: Message = "",
) -> dict[str, Any]:
    """Add and replace what a document names, all of it or nothing, as one revision."""
    if with_envoy and not dry_run:
        raise HTTPException(422, "with_envoy: an Envoy only looks at what dry_run=true would do")
    data = await body(request, MAX_DOCUMENT)
    if dry_run:
        return await service.preview(data, caller.by(message), prune=prune, with_envoy=with_envoy)
    made = await service.applying.apply(data, caller.by(message), prune=prune)
    shown = written(service, made, response)
    if wait is not None and not made.is_held:
        shown["wait"] = await service.wait(made.number, _share(wait), _seconds(patience))
    return shown


@router.get("/revisions", responses=documented(422, 503))
async def all_of_them(
    service: Service,
    limit: Limit = 100,
    before: Annotated[
        int | None, Query(ge=1, le=LAST, description="Number to go on before: `next` of the page before.")
    ] = None,
) -> dict[str, Any]:
    """Revisions from the newest back; with `degraded` (who, what, why) those of which an Envoy rejects something now."""
    found = await service.revision_page(before=before, most=limit)
    return {"revisions": found, "next": found[-1]["revision"] if len(found) == limit else None}


@router.get("/revisions/{number}", responses=documented(404, 409, 422, 503))
async def one(service: Service, number: Number, wait: Share = None, patience: Timeout = "30s") -> dict[str, Any]:
    """One revision, which records it changed, and how far it has come. With `wait` that is waited for: of any change."""
    return await service.revision(number, (_share(wait), _seconds(patience)) if wait is not None else None)


@router.get("/revisions/{number}/diff", responses=documented(404, 409, 422, 503))
async def diff(
    service: Service,
    number: Number,
    to: Annotated[int | None, Query(ge=1, le=LAST, description="Compare with the state as of this one.")] = None,
    with_envoy: WithEnvoy = False,
) -> dict[str, Any]:
    """What a revision changed, or what lies between two."""
    history = service.history
    found = await (history.changed_by(number) if to is None else history.between(number, to))
    return await service.shown(found, with_envoy=with_envoy)


@router.post("/revisions/{number}/rollback", responses=documented(*ERRORS, held=True))
async def rollback(
    service: Service,
    caller: Caller,
    response: Response,
    number: Number,
    with_overrides: Annotated[bool, Query(description="Also what operators laid over targets.")] = False,
    wait: Share = None,
    patience: Timeout = "30s",
    message: Message = "",
) -> dict[str, Any]:
    """Go back to what was in force as of a revision, in a revision of its own."""
    made = await service.history.rollback(number, caller.by(message), with_overrides=with_overrides)
    shown = written(service, made, response)
    if wait is not None and not made.is_held:
        shown["wait"] = await service.wait(made.number, _share(wait), _seconds(patience))
    return shown


@router.post("/revisions/{number}/confirm", responses=documented(*ERRORS))
async def confirm(
    service: Service, caller: Caller, response: Response, number: Number, message: Message = ""
) -> dict[str, Any]:
    """Put in force what the guard held."""
    return written(service, await service.history.confirm(number, caller.by(message)), response)


def _share(text: str) -> float:
    share = float(text.rstrip("%"))
    if share > 100:
        raise HTTPException(422, f"wait: a share is at most 100 %, not {text}")
    return share


def _seconds(text: str) -> float:
    number = text.rstrip("ms")
    return float(number) * _UNITS[text[len(number) :]]
