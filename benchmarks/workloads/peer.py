"""`peer`: `one-change` with the delta variant, and the same of a program on go-control-plane with each of its caches.

Ours is asked over HTTP and has stored the change when it answers; the peer is told on its standard input, and stores nothing.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.catalogue import host, name
from benchmarks.figures import Row
from benchmarks.load import Load
from benchmarks.peer import CACHES, NoPeerError, Peer, build
from benchmarks.served import catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.workloads.one_change import TARGETS, measured, spread


class _Plan(NamedTuple):
    cases: tuple[tuple[int, int], ...]
    """Upstreams and streams."""
    changes: int


_PLANS: Final = {
    Size.SMOKE: _Plan(((20, 5),), 3),
    Size.SHORT: _Plan(((100, 500), (10_000, 100), (10_000, 500)), 15),
    Size.FULL: _Plan(((100, 500), (1_000, 500), (10_000, 100), (10_000, 500)), 50),
}


def peer(size: Size) -> Iterator[Row]:
    """Nothing but a word on standard error where there is no peer."""
    plan = _PLANS[size]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        try:
            binary = build(Path(directory))
        except NoPeerError as error:
            print(f"peer: skipped, as {error}", file=sys.stderr)
            return
        for upstreams, streams in plan.cases:
            for cache in CACHES:
                yield _named(_of_peer(binary, cache, upstreams, streams, plan.changes), f"go-control-plane, {cache}")
            with stored(catalogue(upstreams, TARGETS)) as store, served(store) as case:
                yield _named(measured(case, upstreams, streams, "delta", plan.changes), "xds-server")


def _of_peer(binary: Path, cache: str, upstreams: int, streams: int, changes: int) -> Row:
    places = [(name(number), host(number, 0)) for number in range(upstreams)]
    changed = places[upstreams // 2]
    with Peer(binary, cache, places) as running, Load(running.address) as load:
        return spread(
            load, running.pid, upstreams, streams, "delta", changes, lambda weight: running.weigh(*changed, weight)
        )


def _named(row: Row, server: str) -> Row:
    return replace(row, workload="peer", case={**row.case, "server": server})
