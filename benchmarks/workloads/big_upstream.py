"""`big-upstream`: one upstream has thousands of targets, and one of them changes. Its endpoints are one message, sent whole."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from benchmarks.figures import Row
from benchmarks.served import catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.workloads.one_change import measured


class _Plan(NamedTuple):
    targets: int
    streams: tuple[int, ...]
    changes: int


_PLANS: Final = {
    Size.SMOKE: _Plan(100, (2,), 2),
    Size.SHORT: _Plan(10_000, (1, 10), 10),
    Size.FULL: _Plan(10_000, (1, 10, 100), 50),
}


def big_upstream(size: Size) -> Iterator[Row]:
    """As `one-change`, with one upstream."""
    plan = _PLANS[size]
    with stored(catalogue(1, plan.targets)) as store:
        for streams in plan.streams:
            with served(store) as case:
                row = measured(case, 1, streams, "delta", plan.changes, apart=0.5)
                yield replace(row, workload="big-upstream", case={"targets": plan.targets, "streams": streams})
