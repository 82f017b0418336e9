"""A catalogue and its delivery, without the network, that are stopped and started again on one store."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from xds_server.catalog.catalog import Catalog, Delivery
from xds_server.catalog.readymade import Readymade
from xds_server.catalog.store.records import Key
from xds_server.catalog.store.store import Store
from xds_server.delivery import compiling
from xds_server.delivery.audience import EVERYONE
from xds_server.delivery.compiling import Compiler
from xds_server.delivery.keeping import Keeper
from xds_server.delivery.program import fingerprint
from xds_server.delivery.publisher import Publisher
from xds_server.upstreams.model import Target

Sent = dict[tuple[str, str], tuple[str, bytes, bytes, bytes]]
"""By type and name: version, body and frames."""


class Run:
    """One run of the control plane."""

    def __init__(self, url: str, program: bytes, secrets: Path | None) -> None:
        self.publisher = Publisher(secrets=secrets)
        store = Store(url)
        self.readymade = Readymade(store, program)
        self.catalog = Catalog(store, self._deliver, readymade=self.readymade)
        self.keeper = Keeper(self.catalog, self.readymade)
        self.publisher.on_served = self.keeper.served
        self.known: set[str] = set()
        """What was not made anew when it began."""

    async def _deliver(self, delivery: Delivery) -> None:
        if self.catalog.delivered < 0:
            self.keeper.loaded(delivery.made)
            self.known = {name for _, name in delivery.made}
        await self.publisher.apply(delivery.change, ready=delivery.made)

    async def commit(self, edit: Any) -> None:
        """Make a change, and wait until it is delivered."""
        made = await self.catalog.commit(edit)
        await self.catalog.until_delivered(made.number)

    @property
    def sent(self) -> Sent:
        """What any Envoy is sent."""
        snapshot = self.publisher.server.snapshot(EVERYONE.name)
        assert snapshot is not None
        return {(r.type_url, r.name): (r.version, r.body, r.sotw_frame, r.delta_frame) for r in snapshot}

    def rows(self) -> Mapping[Key, object]:
        """What is kept in the store."""
        return self.readymade.load()


@asynccontextmanager
async def run(url: str, *, program: bytes | None = None, secrets: Path | None = None) -> AsyncIterator[Run]:
    """The control plane on a store, until it is stopped in order."""
    one = Run(url, fingerprint() if program is None else program, secrets)
    await one.catalog.load()
    task = asyncio.create_task(one.catalog.run())
    try:
        if one.catalog.has_begun:
            await one.catalog.until_delivered(0)
        yield one
        assert not task.done()
        await one.keeper.end()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        one.catalog.close()


def count_targets() -> int:
    """How many targets are in memory as models."""
    gc.collect()
    gc.unfreeze()
    return sum(isinstance(each, Target) for each in gc.get_objects())


def counted(monkeypatch: Any) -> list[str]:
    """Takes the name of each definition that is compiled from now on."""
    names: list[str] = []
    whole = Compiler._made

    def made(self: Compiler, key: Key, definition: Any) -> compiling.Made:
        names.append(key[1])
        return whole(self, key, definition)

    monkeypatch.setattr(Compiler, "_made", made)
    return names
