"""What stands in front of our services: messages are read, callers are let in or not, errors answered as what they are."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError

from xds_server.catalog.errors import RefusedError
from xds_server.catalog.store.engine import StoreError
from xds_server.delivery.trial import TrialError
from xds_server.management.events import EndedError
from xds_server.management.grpc import errors
from xds_server.management.grpc.access import AccessControl
from xds_server.management.grpc.calls import Call
from xds_server.security.access import AccessError

PACKAGE: Final = "xds_server.management.v1"

log = structlog.get_logger("server")


class Answering(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Has the methods of our services called with a message, or an iterator of them, and a `Call`."""

    def __init__(self, access: AccessControl) -> None:
        self._access = access

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        prefix = f"/{PACKAGE}."
        if handler is None or not details.method.startswith(prefix):
            return handler
        method = details.method.removeprefix(prefix)
        # Not read by gRPC, which would log a traceback for each message that cannot be.
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._many(method, handler.stream_unary, read), None, write)
        make = grpc.unary_unary_rpc_method_handler if handler.unary_unary else grpc.unary_stream_rpc_method_handler
        return make(self._one(method, handler.unary_unary or handler.unary_stream, read), None, write)

    def _one(self, method: str, function: Any, read: Any) -> Any:
        async def serve(raw: bytes, context: Any) -> Any:
            request = read(raw)
            actor = await self._access.admit(method, request, context)

            async def write(message: Any) -> None:
                await self._access.admit(method, request, context)  # who was let in once may not be so for ever
                await context.write(message)

            return await function(request, Call(actor, write))

        return _answered(serve)

    def _many(self, method: str, function: Any, read: Any) -> Any:
        async def serve(raws: AsyncIterator[bytes], context: Any) -> Any:
            actor = await self._access.admit(method, None, context)

            async def requests() -> AsyncIterator[Any]:
                async for raw in raws:
                    await self._access.admit(method, None, context)
                    yield read(raw)

            return await function(requests(), Call(actor, context.write))

        return _answered(serve)


def _answered(serve: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        try:
            return await serve(request, context)
        except (RefusedError, AccessError, StoreError, EndedError, TrialError) as error:
            await context.abort(errors.code(error), errors.sentence(error), errors.details(error))
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is no message of the type that this call takes")
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            log.exception("grpc.failed", problem=type(error).__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "this is a mistake of the server: its log says more")

    return answer
