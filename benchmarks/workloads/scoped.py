"""`scoped`: many groups of nodes, each with an upstream of its own, and that of one group changes: nobody else hears."""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from benchmarks.catalogue import host, name, upstream
from benchmarks.figures import Row, milliseconds
from benchmarks.load import LoadError
from benchmarks.served import Served, served, stored
from benchmarks.sizes import Size
from benchmarks.usage import Meter, peak_memory
from benchmarks.workloads.one_change import APART, WARMING


class _Plan(NamedTuple):
    groups: int
    changes: int


_PLANS: Final = {
    Size.SMOKE: _Plan(5, 2),
    Size.SHORT: _Plan(1_000, 25),
    Size.FULL: _Plan(1_000, 100),
}


def scoped(size: Size) -> Iterator[Row]:
    """One stream in each group."""
    plan = _PLANS[size]
    mine = [upstream(number, 1, nodes={"clusters": [f"cluster-{number}"]}) for number in range(plan.groups)]
    with stored(mine) as store, served(store) as case:
        yield _measured(case, plan)


def _measured(case: Served, plan: _Plan) -> Row:
    server, api, load = case
    names = [name(number) for number in range(plan.groups)]
    opened = load.open(plan.groups, names, clusters=plan.groups)
    changed = plan.groups // 2
    acknowledged = []
    meter = Meter(server)
    for number in range(-WARMING, plan.changes):
        if number == 0:
            meter.read()
        load.expect(of=1)
        written = api.weigh(name(changed), f"{host(changed, 0)}:9", 2 + WARMING + number)
        arrived = load.arrived()
        if arrived["messages"] != 1 or [each for each, _ in arrived["resources"]] != [name(changed)]:
            raise LoadError(f"a change of one group became {arrived['messages']} messages: {arrived['resources']}")
        if number >= 0:
            acknowledged.append(arrived["acknowledged_at"][-1] - written.asked_at)
        time.sleep(max(0.0, written.asked_at + APART - time.monotonic()))
    return Row(
        "scoped",
        {"groups": plan.groups, "streams": plan.groups},
        {
            **milliseconds(acknowledged, "ack"),
            "server_cpu_ms_per_change": 1000 * meter.read() / plan.changes,
            "server_peak_mib": peak_memory(server.pid) / 2**20,
            "first_answer_s": opened["seconds"],
        },
    )
