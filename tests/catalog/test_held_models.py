"""What is in memory as models: hardly anything, whoever brought it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from catalogues import catalogue, upstream
from restarted import count_targets

from xds_server.catalog.calls import Calls
from xds_server.catalog.changes import Change
from xds_server.catalog.file_records import FileRecords
from xds_server.upstreams.model import Placed

HOSTS = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1_000)]


class Large:
    """What a call returned."""


async def test_what_a_call_returned_is_its_callers_alone() -> None:
    calls = Calls(threads=1)
    large = weakref.ref(await calls(Large))
    gc.collect()
    assert large() is None
    calls.close()


async def test_what_files_say_is_not_held_as_models(tmp_path: Path) -> None:
    def said() -> Change:
        return Change({f"u{n}": Placed("/etc/xds/a.yaml", 1, upstream(f"u{n}", *HOSTS)) for n in range(50)})

    before = count_targets()
    async with catalogue(f"sqlite:///{tmp_path}/store.db") as (catalog, delivered):
        files = FileRecords(catalog, ("/etc/xds",))
        await files.take(said(), is_sound=True)
        await catalog.until_delivered(1)
        delivered.deliveries.clear()
        assert count_targets() <= before + 30 * len(HOSTS)
        recalled = files.said().upstreams
        assert {name: each.source for name, each in recalled.items()} == dict.fromkeys(recalled, "/etc/xds/a.yaml")
        assert recalled["u7"].value == upstream("u7", *HOSTS)
