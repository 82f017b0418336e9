"""A running catalogue over a store, with everything that it delivered; and short ways to say what somebody wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from xds_server.catalog.catalog import Catalog, Delivery, Edit
from xds_server.catalog.changes import Definitions
from xds_server.catalog.overrides import TargetOverride, override_name
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.records import API, FILES, GATEWAY, OVERRIDE, UPSTREAM, Attribution, Key
from xds_server.catalog.store.store import Store
from xds_server.upstreams.model import Gateway, Upstream

ANN, BOB = Attribution("ann"), Attribution("bob")
OF_FILES = Attribution(FILES, source=FILES)


class Delivered:
    """What a catalogue delivered."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.definitions = Definitions()

    async def take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.definitions.apply(delivery.change)

    @property
    def numbers(self) -> list[int]:
        return [each.revision for each in self.deliveries]

    def states(self, name: str) -> dict[str, str]:
        """Of the targets of an upstream."""
        return {target.key: target.state for target in self.definitions.upstreams[name].value.targets}


@asynccontextmanager
async def catalogue(url: str, **options: Any) -> AsyncIterator[tuple[Catalog, Delivered]]:
    """A loaded catalogue that delivers."""
    delivered = Delivered()
    catalog = Catalog(Store(url), delivered.take, **options)
    await catalog.load()
    running = asyncio.create_task(catalog.run())
    try:
        yield catalog, delivered
        assert not running.done()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        catalog.close()


def upstream(name: str, *hosts: str, **more: Any) -> Upstream:
    return Upstream.model_validate({"name": name, "targets": [{"host": host, "port": 80} for host in hosts], **more})


def gateway(name: str, port: int, **more: Any) -> Gateway:
    return Gateway.model_validate({"name": name, "port": port, **more})


def puts(*values: Upstream | Gateway, origin: str = API, line: int = 0) -> dict[Key, Put]:
    return {
        (UPSTREAM if isinstance(value, Upstream) else GATEWAY, value.name): put(value, origin, line) for value in values
    }


def gone(*names: str, kind: str = UPSTREAM) -> frozenset[Key]:
    return frozenset((kind, name) for name in names)


def over(name: str, target: str, **said: Any) -> dict[Key, Put]:
    """An override of a target."""
    return {(OVERRIDE, override_name(name, target)): put(TargetOverride.model_validate(said))}


def wants(
    *values: Upstream | Gateway,
    remove: frozenset[Key] = frozenset(),
    by: Attribution = ANN,
    origin: str = "",
    **more: Any,
) -> Edit:
    """An edit that puts and removes. Of files (`by`), from /etc/a.yaml unless told otherwise."""
    origin = origin or ("/etc/a.yaml" if by.source == FILES else API)
    return lambda _: Proposal(by, puts(*values, origin=origin), remove, **more)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
