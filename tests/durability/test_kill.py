"""The control plane is killed in the middle of writes: what it acknowledged is there, whole, and nothing else is half there.

20 times here; `make soak` does it 200 times (KILLS).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from writers import Acknowledged, Writer, history, marks, missing

from xds_server.catalog.store.records import Key
from xds_server.catalog.store.store import Store
from xds_server.testing import XdsServerProcess

KILLS = int(os.environ.get("KILLS", "20"))
WRITERS = 4
LONGEST = 0.4
"""Seconds of writing before a kill."""


@pytest.mark.timeout(0)
def test_killed_at_any_moment(store_url: str, record_property: Callable[[str, object], None]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = KILLS if store_url.startswith("sqlite") else max(3, KILLS // 5)
    written: list[Acknowledged] = []
    first, cut_short, start = [0] * WRITERS, 0, time.monotonic()
    with XdsServerProcess(store=store_url) as server:
        for kill in range(kills):
            if kill:
                server.restart()
            writers = written_until_killed(server, first, chance)
            for writer in writers:
                assert (writer.surprises, writer.refused, writer.in_doubt) == ([], [], 0)
                written += writer.acknowledged
            first = [writer.mark for writer in writers]
            cut_short += sum(writer.was_cut_short for writer in writers)
            check(store_url, written)
    record_property(
        "measured",
        f"{kills} kills ({store_url.partition(':')[0]}), {len(written)} acknowledged writes, all there; "
        f"{cut_short} were cut short; {(time.monotonic() - start) / kills:.1f} s for each kill",
    )
    assert cut_short > 0, "some writes were under way when it was killed"


def written_until_killed(server: XdsServerProcess, first: list[int], chance: random.Random) -> list[Writer]:
    writers = [
        Writer(f"w{n}", server.http_address, chance.randrange(2**32), first=mark) for n, mark in enumerate(first)
    ]
    for writer in writers:
        writer.start()
    server.wait_until(lambda: any(writer.acknowledged for writer in writers), 30, "a write")
    time.sleep(chance.uniform(0, LONGEST))  # the moment is what is random here
    server.kill()
    for writer in writers:
        writer.join(60)
    return writers


def check(url: str, written: list[Acknowledged]) -> None:
    """The store opens, its numbers have no gaps, all that was acknowledged is in it once, and its states are whole."""
    past = history(url)
    assert list(past) == [*range(1, len(past) + 1)]
    assert missing(written, past) == []
    found = marks(past)
    assert len(found) == len(set(found)), "no write is there twice"
    state: dict[Key, Any] = {}
    for changes in past.values():
        assert changes, "a revision without what it changed"
        state = {key: mark for key, mark in {**state, **changes}.items() if mark is not None}
        for kind, name in state:
            if name.endswith("-onep"):
                assert state[kind, name] == state[kind, name.replace("-onep", "-twop")], "half a document"
    store = Store(url)
    head, held = store.load()
    store.close()
    assert head == len(past)
    assert {key: each.entry.data["description"] for key, each in held.items()} == state
