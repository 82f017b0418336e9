"""Replicas that share a store, as far as their fleets go: scripted clients, and no catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from joined import Joined, JoinedFleet
from scripted_client import web
from sqlalchemy import Engine, event

from xds_server.replicas import Sharing
from xds_server.xds import CLUSTER, ENDPOINTS

GONE = 2.0
"""Seconds of silence after which one of these is dead."""


class SharingFleet(JoinedFleet):
    """One replica."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__(*web("a", "b"))
        self.sharing = Sharing(engine, self.fleet, name, pause=0.02, gone=GONE)
        self._lives = False

    async def start(self) -> None:
        await self.sharing.begin()
        self._lives = True

    async def stop(self) -> None:
        """As SIGTERM would."""
        if self._lives:
            assert self.sharing._running is not None
            assert not self.sharing._running.done()
            await self.sharing.end()
            self._lives = False

    def die(self) -> None:
        """As SIGKILL would: nothing is said any more."""
        assert self.sharing._running is not None
        self.sharing._running.cancel()
        self.sharing._calls.close()
        self._lives = False

    def up_to_date(self, node: str, **how: Any) -> Joined:
        """A client that has everything and acknowledged it."""
        here = self.join(node, **how)
        here.accept(*here.want(CLUSTER), *here.want(ENDPOINTS, "a", "b"))
        return here

    def shown(self) -> dict[str, tuple[str, ...]]:
        """By id of a connected node, where it is."""
        return {node.id: node.replicas for node in self.fleet.nodes() if node.connected}


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is said to a database in the block."""
    said: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        count = len(parameters) if isinstance(parameters, list) else 1
        said.extend([" ".join(statement.split())] * count)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", note)
