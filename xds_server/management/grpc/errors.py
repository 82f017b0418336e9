"""Errors as gRPC statuses: one sentence, and a `google.rpc.BadRequest` that names each field that is wrong."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from xds_server.catalog.errors import (
    ChangedMeanwhileError,
    HistoryError,
    InvalidError,
    NotOwnedError,
    RefusedError,
    UnknownRecordError,
)
from xds_server.catalog.store.engine import StoreError
from xds_server.management import refusals
from xds_server.management.bodies import BodyError
from xds_server.management.events import EndedError, FellBehindError
from xds_server.upstreams.model import Problem

PACKAGE: Final = "xds_server.management.v1"
DETAILS: Final = "grpc-status-details-bin"
"""Where clients look for a `google.rpc.Status`."""
MAX_SENTENCE: Final = 1_000
MAX_DETAILS: Final = 2_000
"""Bytes. Clients refuse an answer whose metadata are longer than 8 KiB, and these grow on their way: the sentence is in them
twice, with up to three bytes for one."""

log = structlog.get_logger("server")


def code(error: Exception) -> grpc.StatusCode | None:
    """The status of an error; None for one that is ours to mend."""
    match error:
        case BodyError() | InvalidError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case UnknownRecordError():
            return grpc.StatusCode.NOT_FOUND
        case ChangedMeanwhileError():
            return grpc.StatusCode.ABORTED
        case NotOwnedError() | HistoryError():
            return grpc.StatusCode.FAILED_PRECONDITION
        case FellBehindError():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case StoreError() | EndedError():
            return grpc.StatusCode.UNAVAILABLE
    return None


def sentence(error: Exception) -> str:
    """What is wrong, as HTTP says it; one that is very long without its end."""
    return _cut(refusals.not_writable(error) if isinstance(error, StoreError) else str(error), MAX_SENTENCE)


def details(error: Exception) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that go with an error."""
    status = code(error)
    problems = refusals.problems(error) if isinstance(error, RefusedError) else []
    if status is None or not problems:
        return ()
    packed = any_pb2.Any()
    packed.Pack(_bad_request(problems))
    whole = status_pb2.Status(code=status.value[0], message=sentence(error), details=[packed])
    return ((DETAILS, whole.SerializeToString()),)


class Refusals(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Has every error of our services answered as what it is."""

    async def intercept_service(self, continuation: Any, call: Any) -> Any:
        handler = await continuation(call)
        if handler is None or not call.method.startswith(f"/{PACKAGE}."):
            return handler
        # Read here, as gRPC would log a traceback for each message that cannot be.
        read, write = handler.request_deserializer, handler.response_serializer
        one = handler.unary_unary or handler.unary_stream
        if one is not None:
            make = grpc.unary_unary_rpc_method_handler if handler.unary_unary else grpc.unary_stream_rpc_method_handler
            return make(_answered(lambda raw, context: one(read(raw), context)), None, write)
        many = handler.stream_unary
        return grpc.stream_unary_rpc_method_handler(
            _answered(lambda raws, context: many((read(raw) async for raw in raws), context)), None, write
        )


def _answered(function: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        try:
            return await function(request, context)
        except (RefusedError, StoreError, EndedError) as error:
            await context.abort(code(error), sentence(error), details(error))
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is no message of the type that this call takes")
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            log.exception("grpc.failed", problem=type(error).__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "this is a mistake of the server: its log says more")

    return answer


def _bad_request(problems: Sequence[Problem]) -> error_details_pb2.BadRequest:
    """As many of the problems as there is room for."""
    found = error_details_pb2.BadRequest()
    for index, problem in enumerate(problems):
        field = problem.field or "json"
        found.field_violations.add(field=_cut(field, 300), description=_cut(problem.message, 500))
        if found.ByteSize() > MAX_DETAILS and index + 1 < len(problems):
            del found.field_violations[-1]
            rest = len(problems) - index
            found.field_violations.add(field="json", description=f"{rest} more problems: HTTP tells them all")
            break
    return found


def _cut(text: str, most: int) -> str:
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"
