"""Errors as gRPC statuses: one sentence, and a `google.rpc.BadRequest` that names each field that is wrong."""

from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

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
from xds_server.management.events import EndedError, FellBehindError
from xds_server.security.access import ForbiddenError, UnauthenticatedError
from xds_server.upstreams.model import Problem

DETAILS: Final = "grpc-status-details-bin"
"""Where clients look for a `google.rpc.Status`."""
MAX_SENTENCE: Final = 1_000
MAX_DETAILS: Final = 2_000
"""Bytes. Clients refuse an answer whose metadata are longer than 8 KiB, and these grow on their way: the sentence is in them
twice, with up to three bytes for one."""


def code(error: Exception) -> grpc.StatusCode | None:
    """The status of an error; None for one that is ours to mend."""
    match error:
        case StillNeededError():
            return grpc.StatusCode.FAILED_PRECONDITION
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
        case TrialBusyError():
            return grpc.StatusCode.UNAVAILABLE
        case TrialError():
            return grpc.StatusCode.FAILED_PRECONDITION
        case StoreError() | EndedError():
            return grpc.StatusCode.UNAVAILABLE
        case UnauthenticatedError():
            return grpc.StatusCode.UNAUTHENTICATED
        case ForbiddenError():
            return grpc.StatusCode.PERMISSION_DENIED
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
