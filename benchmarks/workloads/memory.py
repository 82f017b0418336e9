"""`memory`: what the server keeps for each upstream, target and stream: the difference between catalogues and loads.

Resident memory after everything was answered and acknowledged. Of targets, their encoded form is told beside it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from benchmarks.catalogue import name
from benchmarks.figures import Row
from benchmarks.served import catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.usage import memory

APART: Final = 0.05
"""Seconds between two streams that come."""
WARMING: Final = 10
"""Streams that come first."""


class _Plan(NamedTuple):
    upstreams: int
    more_targets: int
    streams: int


_PLANS: Final = {
    Size.SMOKE: _Plan(20, 2, 5),
    Size.SHORT: _Plan(10_000, 10, 100),
    Size.FULL: _Plan(10_000, 10, 500),
}


class _Seen(NamedTuple):
    one_stream: int
    each_stream: float
    wire_of_one: int


def memory_use(size: Size) -> Iterator[Row]:
    """An empty catalogue, one target in each upstream, and several."""
    plan = _PLANS[size]
    empty = _seen(1, 1, 1)
    few = _seen(plan.upstreams, 1, plan.streams)
    many = _seen(plan.upstreams, plan.more_targets, 1)
    more = plan.upstreams * (plan.more_targets - 1)
    encoded = (many.wire_of_one - few.wire_of_one) / more
    each = (many.one_stream - few.one_stream) / more
    yield Row(
        "memory",
        {"upstreams": plan.upstreams, "streams": plan.streams},
        {
            "empty_server_mib": empty.one_stream / 2**20,
            "kib_per_upstream_of_one_target": (few.one_stream - empty.one_stream) / plan.upstreams / 1024,
            "bytes_per_target": each,
            "bytes_per_target_encoded": encoded,
            "bytes_per_target_beyond_encoded": each - encoded,
            "kb_per_stream_beyond_the_first": few.each_stream / 1000,
        },
    )


def _seen(upstreams: int, targets: int, streams: int) -> _Seen:
    names = [name(number) for number in range(upstreams)]
    with stored(catalogue(upstreams, targets)) as store, served(store) as (server, _, load):
        one = load.open(1, names)
        first = memory(server.pid)
        # What is under way to several at once is used again: these come one by one, and the first of them do not count.
        load.open(WARMING, names, over=WARMING * APART)
        before = memory(server.pid)
        load.open(streams, names, over=streams * APART)
        return _Seen(first, (memory(server.pid) - before) / streams, one["bytes_in"])
