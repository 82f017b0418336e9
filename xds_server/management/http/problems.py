"""Errors as problem documents (RFC 9457): one sentence, and a JSON pointer to each field that is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from xds_server.catalog.errors import (
    ChangedMeanwhileError,
    HistoryError,
    InvalidError,
    NotOwnedError,
    RefusedError,
    StillNeededError,
    UnknownRecordError,
)
from xds_server.catalog.store.engine import StoreError
from xds_server.delivery.trial import TrialBusyError, TrialError
from xds_server.management import refusals
from xds_server.management.bodies import BodyError
from xds_server.upstreams.model import Problem
from xds_server.upstreams.model.base import Location

MEDIA_TYPE: Final = "application/problem+json"
TITLES: Final = {
    400: "The request cannot be read",
    401: "Who are you?",
    403: "Not allowed",
    404: "There is no such thing",
    405: "Not done to this address",
    409: "Not possible as things are",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Not a type of body that is read",
    422: "The definition is not in order",
    503: "Not now",
}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def documented(*statuses: int, created: bool = False, held: bool = False) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers with these statuses, and of those to writes that make something, or are held."""
    good: dict[int | str, dict[str, Any]] = {201: {"description": "Defined"}} if created else {}
    if held:
        good[202] = {"description": "Held until it is confirmed"}
    return good | {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
        for status in (*statuses, 401, 403)
    }


def problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer."""
    body: dict[str, Any] = {"title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def pointer(location: Location) -> str:
    """A place in a document as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def add_problems(app: FastAPI) -> None:
    """Have every error answered as a problem document."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _refused(error)

    @app.exception_handler(StoreError)
    async def not_writable(_: Request, error: StoreError) -> JSONResponse:
        return problem(503, refusals.not_writable(error), headers={"Retry-After": "1"})

    @app.exception_handler(TrialError)
    async def not_tried(_: Request, error: TrialError) -> JSONResponse:
        if isinstance(error, TrialBusyError):
            return problem(503, str(error), headers={"Retry-After": "10"})
        return problem(409, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = [{"pointer": "#" + "/".join(map(str, e["loc"])), "detail": str(e["msg"])} for e in error.errors()]
        first = error.errors()[0]
        return problem(422, f"{first['loc'][-1]}: {first['msg']}", found)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=error.headers)


def _refused(error: RefusedError) -> JSONResponse:
    return problem(_status(error), str(error), _errors(refusals.problems(error)))


def _status(error: RefusedError) -> int:
    if isinstance(error, BodyError):
        return 400 if error.is_unreadable else 422
    if isinstance(error, InvalidError) and not isinstance(error, StillNeededError):
        return 422
    if isinstance(error, UnknownRecordError):
        return 404
    if isinstance(error, ChangedMeanwhileError):
        return 412
    assert isinstance(error, NotOwnedError | HistoryError | StillNeededError)
    return 409


def _errors(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"pointer": pointer(each.location), "detail": each.message} for each in problems]
