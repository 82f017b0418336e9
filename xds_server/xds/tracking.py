"""One change of what is served, followed to every stream that it concerns. Costs those streams alone."""

import logging
from dataclasses import dataclass
from typing import Any, Final

from xds_server.xds.awaited import Awaited, Outcome, Tell
from xds_server.xds.node import Node
from xds_server.xds.snapshot import Touched
from xds_server.xds.stream import Stream

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A stream whose client has not answered for a change yet."""

    stream: int
    node: Node
    types: tuple[str, ...]
    """Type URLs that it has not answered for."""


class Tracking:
    """What came of one change: see `DiscoveryServer.tracking`."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._pending: dict[Stream[Any], Awaited] = {}

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The streams that are waited for."""
        return tuple(
            Pending(stream.number, stream.node, awaited.types)
            for stream, awaited in self._pending.items()
            if stream.node is not None
        )

    def end(self) -> None:
        """Wait for nobody any more."""
        for stream, awaited in self._pending.items():
            stream.forget(awaited)
        self._pending.clear()

    def concern(self, stream: Stream[Any], touched: Touched | None) -> None:
        """The change may concern `stream`. Called by the server. `touched`: see `Stream.expect`."""
        known = self._pending.pop(stream, None)
        if known is not None:  # it moved to another group with the same change
            stream.forget(known)
            touched = None

        def tell(outcome: Outcome) -> None:
            self._pending.pop(stream, None)
            try:
                self._tell(outcome)
            except Exception:  # who watches must not hurt who is served
                log.exception("what was to be told of a change failed")

        if (awaited := stream.expect(touched, tell)) is not None:
            self._pending[stream] = awaited
