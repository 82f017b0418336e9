"""A stream of updates of targets: made as they come, many at a time, and told of at its end."""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Final

from xds_server.catalog.errors import RefusedError
from xds_server.catalog.store.records import Attribution
from xds_server.management.events import Events, StoppingError
from xds_server.management.grpc import errors
from xds_server.management.grpc.messages import patch_of
from xds_server.management.targets import Targets
from xds_server.management.v1 import targets_pb2

UNDER_WAY: Final = 1_000
"""Updates that are taken from a stream before they are made. Then it waits, and so does the client."""
ERRORS: Final = 100
"""Of updates that failed, those that are told one by one."""


class Updates:
    """One stream."""

    def __init__(self, targets: Targets, by: Callable[[str], Attribution], events: Events) -> None:
        """`by`: the attribution of a change that is made for a reason. `events`: say when the server stops."""
        self._targets, self._by, self._events = targets, by, events
        self._room = asyncio.Semaphore(UNDER_WAY)
        self._made = targets_pb2.UpdateTargetsResponse()

    async def make(
        self, requests: AsyncIterable[targets_pb2.UpdateTargetsRequest]
    ) -> targets_pb2.UpdateTargetsResponse:
        """Make all that come. Raises StoreError when the store is lost, StoppingError when the server stops, BodyError when the
        reason is too long, and what `requests` raise."""
        made, by = self._made, None
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(self._until_stopped())
                async for request in requests:
                    by = by or self._by(request.message)
                    await self._room.acquire()
                    group.create_task(self._update(made.received, request, by))
                    made.received += 1
                stopping.cancel()
        except BaseExceptionGroup as found:
            raise found.exceptions[0] from None
        return made

    async def _until_stopped(self) -> None:
        await self._events.until_ended()
        raise StoppingError("the server stops: send everything again, to another one or later", self._made.revision)

    async def _update(self, index: int, request: targets_pb2.UpdateTargetsRequest, by: Attribution) -> None:
        made = self._made
        try:
            outcome = await self._targets.patch(request.upstream, request.target, patch_of(request.patch), by)
        except RefusedError as error:
            made.failed += 1
            if len(made.errors) < ERRORS:
                made.errors.append(_error(index, request, error))
        else:
            made.applied += 1
            # Several updates share a revision.
            made.revisions += outcome.revision is not None and outcome.number > made.revision
            made.revision = max(made.revision, outcome.number)
        finally:
            self._room.release()


def _error(index: int, request: targets_pb2.UpdateTargetsRequest, error: RefusedError) -> targets_pb2.UpdateError:
    code = errors.code(error)
    assert code is not None
    return targets_pb2.UpdateError(
        index=index,
        upstream=request.upstream,
        target=request.target,
        code=code.value[0],
        message=errors.sentence(error),
    )
