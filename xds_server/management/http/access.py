"""Who asks over HTTP, and whether they may: a guard in front of every route but health and what nodes poll."""

from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from xds_server.management.actor import Actor
from xds_server.management.http.listening import certificate_of
from xds_server.management.http.problems import problem
from xds_server.security.access import CHALLENGE, AccessError, Caller, Identity, require
from xds_server.security.authenticator import Authenticator
from xds_server.security.refusal_log import RefusalLog
from xds_server.security.roles import Role

OPEN: Final = ("/healthz", "/readyz", "/v3/discovery:", "/docs", "/openapi.json", "/static-offline-docs/")
"""Beginnings of paths that need nobody's leave here: probes and browsers that read the description have no token, and nodes are
known by their certificates."""
_TRUE: Final = ("true", "1", "yes", "on", "t", "y")
"""What FastAPI takes for true."""
_CHANGES: Final = ("POST", "PUT", "PATCH", "DELETE")


class AccessControl:
    """Middleware that lets requests through by the role of who sends them, and notes who that is (`actor`), and how
    to ask again (`admit`)."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator
        self._refusals = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OPEN):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        headers = connection.headers
        caller = Caller(headers.get("authorization"), certificate_of(scope), headers.get("host"), headers.get("origin"))
        method, path = scope["method"], scope["path"]
        client = connection.client.host if connection.client is not None else ""

        async def admit() -> Identity:
            try:
                identity = await self._authenticator.identify(caller)
                require(identity, needed_role(method, path, connection.query_params), f"{method} {path}")
            except AccessError as error:
                self._refusals.tell(error, client, f"{method} {path}")
                raise
            return identity

        try:
            identity = await admit()
        except AccessError as error:
            refused = {"WWW-Authenticate": CHALLENGE} if error.status == 401 else None
            await problem(error.status, error.detail, headers=refused)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(actor=Actor(identity.name, client), admit=admit)
        await self._app(scope, receive, send)


def needed_role(method: str, path: str, query: Any) -> Role:
    """What a request needs: looking at things, and dry runs, `read`; what operators say of targets `operate`; else `write`,
    also to have an Envoy run on the server's machine."""
    # Which of several values counts is not decided here: a dry run is one by all of them, an Envoy is asked for by any.
    is_dry = all([value in _TRUE for value in _values(query, "dry_run")] or [False])
    if method not in _CHANGES or (path == "/v1/apply" and is_dry):
        return Role.WRITE if any(value in _TRUE for value in _values(query, "with_envoy")) else Role.READ
    return Role.OPERATE if method == "PATCH" and "/targets/" in path else Role.WRITE


def _values(query: Any, name: str) -> list[str]:
    return [value.lower() for value in query.getlist(name)]
