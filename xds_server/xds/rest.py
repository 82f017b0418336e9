"""Binds the server to `POST /v3/discovery:<type>` (conformance V16 to V19), as an ASGI application for any HTTP server.

JSON in, JSON out. A poller that holds what there is gets 304, any status but that and 200 leaves it with what it holds.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from xds_server.xds.any_types import LAZY_POOL
from xds_server.xds.peer import Names
from xds_server.xds.polling import Answer, NotReadyError
from xds_server.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
)
from xds_server.xds.server import DiscoveryServer
from xds_server.xds.stream import InvalidRequestError, RefusedError, TooMuchError

PATHS: Final[Mapping[str, str]] = {
    "clusters": CLUSTER,
    "endpoints": ENDPOINTS,
    "listeners": LISTENER,
    "routes": ROUTES,
    "scoped-routes": SCOPED_ROUTES,
    "secrets": SECRET,
    "runtime": RUNTIME,
    "extension_configs": EXTENSION_CONFIG,
}
"""What follows `/v3/discovery:`, as Envoy asks it, and the type that is meant."""

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a request. An Envoy's is some 60 KB, nearly all of it the list of its extensions."""


LONG: Final = 16_384
"""Bytes of resources from which an answer is made in a thread, and kept for the next one who asks."""
KEPT: Final = 8
"""How many long answers are kept."""

log: Final = logging.getLogger(__name__)


NamesOf = Callable[[Request], Names | None]
"""The names in the certificate that a request's connection showed, which only the HTTP server knows; None without one."""


def rest_app(server: DiscoveryServer, names_of: NamesOf = lambda _: None) -> Starlette:
    """The application that answers for `server`. `names_of` is for the server's `authorize`."""
    return Starlette(routes=rest_routes(server, names_of))


def rest_routes(server: DiscoveryServer, names_of: NamesOf = lambda _: None) -> list[Route]:
    """Its routes, to be part of another application."""
    polls = _Polls(server, names_of)
    known = [Route(f"/v3/discovery:{path}", polls.endpoint(kind), methods=["POST"]) for path, kind in PATHS.items()]
    return [*known, Route("/v3/discovery:{path}", _unknown, methods=["POST"])]


async def _unknown(_: Request) -> Response:
    return _problem(404, "No such type", f"there are /v3/discovery: with {', '.join(PATHS)}")


class _Polls:
    def __init__(self, server: DiscoveryServer, names_of: NamesOf) -> None:
        self._server = server
        self._names_of = names_of
        self._latest: OrderedDict[tuple[str, str], tuple[Answer, asyncio.Future[bytes]]] = OrderedDict()

    def endpoint(self, type_url: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                if "origin" in request.headers:  # which browsers send, and no xDS client
                    raise RefusedError("a web page is no node: discovery is not for browsers")
                asked = _parse(await _body(request))
                found = await self._server.poll(type_url, asked, self._names_of(request))
                if found is None:
                    return Response(status_code=304)
                return Response(await self._encode(found), media_type="application/json")
            except InvalidRequestError as error:
                return _problem(400, "The request cannot be read", str(error))
            except RefusedError as error:
                return _problem(403, "Not this client's node", str(error))
            except TooMuchError as error:
                return _problem(413, "The request is too long", str(error))
            except NotReadyError as error:
                return _problem(503, "Not ready", str(error))
            except _NoJsonError as error:
                return _problem(500, "No JSON for this resource", str(error))
            except ClientDisconnect:
                return Response(status_code=400)  # which nobody reads
            except asyncio.CancelledError:
                return _problem(503, "The server stops", "the request was not finished in time")
            except Exception:
                log.exception("a poll ends by an error of the server")
                return _problem(500, "An error of the server", "see its log")

        return answer

    async def _encode(self, answer: Answer) -> bytes:
        """The answer as JSON. A long one is made once for all who are told the same, and not on the event loop: 10,000
        clusters take seconds."""
        if sum(len(resource.body) for resource in answer.resources) < LONG:
            return _json(answer)
        key = (answer.type_url, answer.version)
        latest, known = self._latest.get(key, (answer, None))
        if known is None or not _same(latest, answer) or (known.done() and known.exception() is not None):
            known = asyncio.ensure_future(asyncio.to_thread(_json, answer))
            self._latest[key] = (answer, known)
        self._latest.move_to_end(key)
        while len(self._latest) > KEPT:
            self._latest.popitem(last=False)
        return await asyncio.shield(known)


def _same(one: Answer, other: Answer) -> bool:
    """Whether the very same resources are meant: versions that callers give may be equal in two groups."""
    same_size = one.version == other.version and len(one.resources) == len(other.resources)
    return same_size and all(a is b for a, b in zip(one.resources, other.resources, strict=True))


class _NoJsonError(Exception):
    """Of a resource that was given as bytes, of a type that is not known here."""


def _json(answer: Answer) -> bytes:
    message = discovery_pb2.DiscoveryResponse.FromString(answer.encode())
    try:
        # Field names as in the .proto files, which every version reads.
        data = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=LAZY_POOL)
    except (TypeError, ValueError, DecodeError) as error:
        names = ", ".join(resource.name for resource in answer.resources[:10])
        raise _NoJsonError(f"{names}: {error}: such resources can be served over gRPC only") from None
    return json.dumps(data, separators=(",", ":")).encode()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooMuchError(f"the request is longer than {MAX_BODY} bytes")
    return bytes(body)


def _parse(body: bytes) -> Any:
    try:
        data = json.loads(body)
        node = data.get("node")
        if isinstance(node, dict):
            node.pop("extensions", None)  # nearly all of the request, and of no use here
        # A newer Envoy may say more than we know.
        return json_format.ParseDict(data, discovery_pb2.DiscoveryRequest(), ignore_unknown_fields=True)
    except (ValueError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise InvalidRequestError(f"not a DiscoveryRequest as JSON: {error}"[:1000]) from None


def _problem(status: int, title: str, detail: str) -> Response:
    body = json.dumps({"status": status, "title": title, "detail": detail}).encode()
    return Response(body, status_code=status, media_type="application/problem+json")
