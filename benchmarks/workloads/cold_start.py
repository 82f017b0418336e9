"""`cold-start`: the control plane starts with N upstreams in its store (SQLite), until a client has all of them.

The time begins before the process does. The catalogue was written by another process before.
"""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from benchmarks.catalogue import name
from benchmarks.figures import Row, median
from benchmarks.load import Load
from benchmarks.served import PATIENCE, catalogue, stored
from benchmarks.sizes import Size
from benchmarks.usage import cpu_seconds, memory, peak_memory
from xds_server.testing import XdsServerProcess

TARGETS: Final = 10


class _Plan(NamedTuple):
    upstreams: tuple[int, ...]
    starts: int


_PLANS: Final = {
    Size.SMOKE: _Plan((20,), 1),
    Size.SHORT: _Plan((1_000, 10_000), 3),
    Size.FULL: _Plan((1_000, 10_000, 100_000), 3),
}


class _Start(NamedTuple):
    ready: float
    first_full: float
    cpu: float
    peak: int
    after: int


def cold_start(size: Size) -> Iterator[Row]:
    """Each catalogue, several times."""
    plan = _PLANS[size]
    for upstreams in plan.upstreams:
        with stored(catalogue(upstreams, TARGETS)) as store:
            starts = [_start(store, upstreams) for _ in range(plan.starts)]
        yield Row(
            "cold-start",
            {"upstreams": upstreams, "targets": TARGETS, "starts": plan.starts},
            {
                "ready_median_s": median(each.ready for each in starts),
                "first_full_median_s": median(each.first_full for each in starts),
                "first_full_slowest_s": max(each.first_full for each in starts),
                "server_cpu_s": median(each.cpu for each in starts),
                "server_peak_mib": max(each.peak for each in starts) / 2**20,
                "server_after_mib": max(each.after for each in starts) / 2**20,
            },
        )


def _start(store: str, upstreams: int) -> _Start:
    begun = time.monotonic()
    with XdsServerProcess(store=store, timeout=PATIENCE) as server:
        ready = time.monotonic() - begun
        with Load(server.xds_address) as load:
            opened = load.open(1, [name(number) for number in range(upstreams)])
            # The load client's own start is not the server's.
            first_full = ready + opened["seconds"]
            return _Start(ready, first_full, cpu_seconds(server.pid), peak_memory(server.pid), memory(server.pid))
