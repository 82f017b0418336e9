"""The HTTP application: the API, REST xDS, and health. Thin: all answers come from elsewhere."""

from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic.json_schema import models_json_schema

from xds_server import __version__
from xds_server.catalog.overrides import TargetOverride
from xds_server.management.http import events, nodes, revisions, targets
from xds_server.management.http.access import AccessControl
from xds_server.management.http.definitions import definitions_router
from xds_server.management.http.listening import certificate_of
from xds_server.management.http.problems import add_problems
from xds_server.management.service import Management
from xds_server.security.authenticator import Authenticator
from xds_server.upstreams.model import Document, Gateway, Target, Upstream
from xds_server.xds.rest import rest_routes

DESCRIPTION: Final = "Definitions of upstreams, their history, and what every connected Envoy has of them."


def http_app(management: Management, authenticator: Authenticator | None = None) -> FastAPI:
    """The application, over the functions of `management`. `authenticator`: None lets everyone in, as `local`."""
    # Offline: a browser that reaches this server may reach nothing else.
    app = FastAPIOffline(title="xds-server", version=__version__, description=DESCRIPTION, redoc_url=None)
    app.state.management = management
    add_problems(app)
    if authenticator is not None:
        app.add_middleware(AccessControl, authenticator=authenticator)

    @app.get("/healthz", tags=["health"])
    async def alive() -> dict[str, Any]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Not ready"}})
    async def ready() -> JSONResponse:
        """Whether the catalogue is loaded and xDS is served."""
        if management.is_ready:
            return JSONResponse({"status": "ready", "writable": not management.catalog.problem})
        return JSONResponse({"status": "not ready: definitions are not loaded, or the server stops"}, status_code=503)

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics(request: Request) -> Response:
        """Metrics for Prometheus."""
        body, kind = management.metrics(request.headers.get("accept", ""))
        return Response(body, media_type=kind)

    definitions = (definitions_router("upstreams"), definitions_router("gateways"))
    for router in (*definitions, targets.of_all, targets.router, revisions.router, nodes.router, events.router):
        app.include_router(router)
    server = management.publisher.server
    app.router.routes.extend(rest_routes(server, lambda request: certificate_of(request.scope)))
    _describe_bodies(app)
    return app


def _describe_bodies(app: FastAPI) -> None:
    """Put the schemas of definitions, which are read by hand for their messages, into the API's description."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = made()
            models = [(model, "validation") for model in (Document, Upstream, Gateway, Target, TargetOverride)]
            _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            described.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
