"""`/v1/upstreams` and `/v1/gateways`: definitions one by one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.errors import UnknownRecordError
from xds_server.management import views
from xds_server.management.definitions import Definitions
from xds_server.management.http.problems import documented
from xds_server.management.http.requests import Caller, Limit, Message, Service, body, etag, precondition
from xds_server.management.service import Management
from xds_server.upstreams.translate.render import resources_of

ERRORS = (400, 404, 409, 412, 413, 415, 422, 503)
After = Annotated[str, Query(description="Name to go on after: `next` of the page before.")]
Prefix = Annotated[str, Query(max_length=253, description="Only names that begin so.")]
Labels = Annotated[list[str] | None, Query(description="key=value; several must all be there.")]


def definitions_router(kind: str) -> APIRouter:
    """The addresses of definitions of one kind (``upstreams`` or ``gateways``)."""
    router = APIRouter(prefix=f"/v1/{kind}", tags=[kind])
    schema = {"$ref": f"#/components/schemas/{'Upstream' if kind == 'upstreams' else 'Gateway'}"}
    takes = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    patches = {
        "requestBody": {"required": True, "content": {"application/merge-patch+json": {"schema": {"type": "object"}}}}
    }

    def functions(service: Management) -> Definitions:
        found: Definitions = getattr(service, kind)
        return found

    @router.get("", responses=documented(422))
    async def all_of_them(
        service: Service,
        limit: Limit = 100,
        after: After = "",
        prefix: Prefix = "",
        label: Labels = None,
    ) -> dict[str, Any]:
        """Definitions by name, a page at a time, and what is known of each."""
        page = functions(service).page(labels=labels(label), after=after, most=limit, prefix=prefix)
        contents = service.catalog.contents
        records = {name: functions(service).get(name) for name in page.names}
        return {
            kind: [views.written(record.value) for record in records.values()],
            "about": {name: views.about(contents, record, name) for name, record in records.items()},
            "next": page.next,
        }

    @router.get("/{name}", responses=documented(404))
    async def one(service: Service, name: str, response: Response) -> dict[str, Any]:
        """A definition as its author wrote it, to be put back like that."""
        record = functions(service).get(name)
        response.headers["ETag"] = etag(record.held.revision)
        return views.written(record.value)

    @router.put(
        "/{name}",
        responses=documented(*ERRORS, created=True, held=True),
        openapi_extra=takes,
    )
    async def put(
        service: Service, caller: Caller, request: Request, response: Response, name: str, message: Message = ""
    ) -> dict[str, Any]:
        """Define it, whatever was there before."""
        expected = precondition(request, revision_of(service, kind, name))
        made = await functions(service).put(
            name, await body(request), caller.by(message), expected[0] if expected else None
        )
        shown = written(service, made, response, revision_after(service, made, kind, name))
        if not made.is_held and "added" in {change.action for change in made.changes.values()}:
            response.status_code = 201
        return shown

    @router.patch("/{name}", responses=documented(*ERRORS, held=True), openapi_extra=patches)
    async def patch(
        service: Service, caller: Caller, request: Request, response: Response, name: str, message: Message = ""
    ) -> dict[str, Any]:
        """Lay a JSON merge patch over it: null takes a field away, lists are replaced whole."""
        expected = precondition(request, revision_of(service, kind, name))
        functions(service).get(name)
        made = await functions(service).patch(
            name, await body(request), caller.by(message), expected[0] if expected else None
        )
        return written(service, made, response, revision_after(service, made, kind, name))

    @router.delete("/{name}", responses=documented(*ERRORS, held=True))
    async def delete(
        service: Service, caller: Caller, request: Request, response: Response, name: str, message: Message = ""
    ) -> dict[str, Any]:
        """Take it away, with what operators laid over its targets."""
        expected = precondition(request, revision_of(service, kind, name))
        made = await functions(service).delete(name, caller.by(message), expected[0] if expected else None)
        return written(service, made, response)

    if kind == "upstreams":

        @router.get("/{name}/envoy", responses=documented(404))
        async def envoy(
            service: Service,
            name: str,
            node: Annotated[str | None, Query(description="Id of a connected node: as it is sent it.")] = None,
        ) -> dict[str, Any]:
            """The Envoy resources that it becomes, without secrets."""
            return resources_of(service.envoy(name, node))

    return router


def revision_of(service: Management, kind: str, name: str) -> int:
    """The revision that made a definition what it is; 0 where there is none."""
    try:
        return int(getattr(service, kind).get(name).held.revision)
    except UnknownRecordError:
        return 0


def revision_after(service: Management, made: Outcome, kind: str, name: str) -> int:
    """The revision that made a definition what a write left it."""
    return made.revision_of((kind.removesuffix("s"), name), revision_of(service, kind, name))


def written(service: Management, made: Outcome, response: Response, *revisions: int) -> dict[str, Any]:
    """The answer to a write, with its status and entity tag."""
    response.status_code = 202 if made.is_held else 200
    if revisions and not made.is_held:
        response.headers["ETag"] = etag(*revisions)
    return service.outcome(made)


def labels(given: list[str] | None) -> dict[str, str]:
    """The labels of a filter. Raises HTTPException for what is none."""
    found = {}
    for each in given or []:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise HTTPException(422, f"label: write key=value, not {each[:100]!r}")
        found[key] = value
    return found
