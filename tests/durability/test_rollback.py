"""Going back to any revision gives every Envoy, byte for byte, what it was sent then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogues import ANN

from xds_server.catalog.catalog import Catalog, Delivery
from xds_server.catalog.errors import RefusedError
from xds_server.catalog.store.records import OVERRIDE
from xds_server.catalog.store.store import Store
from xds_server.delivery.audience import EVERYONE
from xds_server.delivery.publisher import Publisher
from xds_server.management.service import Management

CHANGES, BACK = 300, 50
NAMES = [f"u{n}" for n in range(8)]
Sent = dict[tuple[str, str], tuple[str, bytes]]
"""By type and name: version and body."""


class ControlPlane:
    """Everything but the network."""

    def __init__(self, url: str) -> None:
        self.publisher = Publisher()
        self.catalog = Catalog(Store(url), self._deliver)
        self.management = Management(self.catalog, self.publisher)

    async def _deliver(self, delivery: Delivery) -> None:
        await self.publisher.apply(delivery.change)

    async def sent(self) -> Sent:
        """What any Envoy holds now."""
        await self.catalog.until_delivered(self.catalog.contents.revision)
        snapshot = self.publisher.server.snapshot(EVERYONE.name)
        assert snapshot is not None
        return {(each.type_url, each.name): (each.version, each.body) for each in snapshot}

    async def change(self, chance: random.Random) -> None:
        """Something that an operator might do; what is refused is nothing."""
        name, of = chance.choice(NAMES), self.management
        targets = [{"host": f"10.0.0.{n + 1}", "port": 80} for n in range(chance.randrange(4))]
        target = f"10.0.0.{chance.randrange(3) + 1}:80"
        try:
            match chance.randrange(7):
                case 0 | 1:
                    algorithm = chance.choice(["round-robin", "weighted-round-robin", "maglev", "least-connections"])
                    timeout = f"{chance.randrange(5)}s"
                    body = {"targets": targets, "algorithm": algorithm, "timeout": timeout}
                    await of.upstreams.put(name, body, ANN)
                case 2:
                    await of.upstreams.delete(name, ANN)
                case 3:
                    state = chance.choice(["draining", "disabled", "enabled", "unhealthy"])
                    await of.targets.patch(name, target, {"state": state}, ANN)
                case 4:
                    await of.targets.patch(name, target, {"weight": chance.choice([None, 1, 2, 3])}, ANN)
                case 5:
                    await of.upstreams.patch(name, {"hostnames": [f"{chance.choice(NAMES)}.example"]}, ANN)
                case _:
                    gateway = {"port": 10000 + chance.randrange(3)} | chance.choice([{}, {"upstream": name}])
                    await of.gateways.put(chance.choice(["g", "h"]), gateway, ANN)
        except RefusedError:
            return


async def test_back_to_any_of_fifty_revisions(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    here = ControlPlane(f"sqlite:///{tmp_path}/store.db")
    await here.catalog.load()
    delivering = asyncio.create_task(here.catalog.run())
    sent: dict[int, Sent] = {}
    for _ in range(CHANGES):
        await here.change(chance)
        if here.catalog.head and here.catalog.head not in sent:
            sent[here.catalog.head] = await here.sent()
    chosen = chance.sample(sorted(sent), BACK)
    resources = 0
    for number in chosen:
        made = await here.management.history.rollback(number, ANN, with_overrides=True)
        if made.is_held:
            await here.management.history.confirm(made.number, ANN)
        found = await here.sent()
        assert found == sent[number], f"revision {number}"
        resources += len(found)
    delivering.cancel()
    here.catalog.close()
    # A restart serves the same bytes again.
    again = ControlPlane(f"sqlite:///{tmp_path}/store.db")
    await again.catalog.load()
    delivering = asyncio.create_task(again.catalog.run())
    assert await again.sent() == sent[chosen[-1]]
    delivering.cancel()
    again.catalog.close()
    record_property(
        "measured",
        f"back to {BACK} of {len(sent)} revisions, and {resources} resources as they were then, byte for byte",
    )


async def test_overrides_stay_as_they_are_unless_asked_for(tmp_path: Path) -> None:
    here = ControlPlane(f"sqlite:///{tmp_path}/store.db")
    await here.catalog.load()
    delivering = asyncio.create_task(here.catalog.run())
    of = here.management
    body: dict[str, Any] = {"targets": [{"host": "10.0.0.1", "port": 80}, {"host": "10.0.0.2", "port": 80}]}
    await of.upstreams.put("a", body, ANN)
    before = await here.sent()
    await of.upstreams.put("a", body | {"timeout": "3s"}, ANN)
    await of.targets.patch("a", "10.0.0.1:80", {"state": "disabled"}, ANN)
    made = await of.history.rollback(1, ANN)
    assert {kind for kind, _ in made.changes} == {"upstream"}
    assert here.catalog.contents.overrides("a")
    made = await of.history.rollback(1, ANN, with_overrides=True)
    assert {kind for kind, _ in made.changes} == {OVERRIDE}
    assert await here.sent() == before
    delivering.cancel()
    here.catalog.close()
