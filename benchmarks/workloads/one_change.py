"""`one-change`: one target of one upstream among many changes, and every stream holds its upstream.

From the HTTP request to the acknowledgement of the last stream. What a change costs should depend on the streams that it
concerns, and not on how many other upstreams there are.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from benchmarks.catalogue import host, name
from benchmarks.figures import Row, median, milliseconds
from benchmarks.load import Load, LoadError
from benchmarks.served import Served, catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.usage import Meter, peak_memory

APART: Final = 0.08
"""Seconds between two changes: more than the pause in which they would share a revision."""
TARGETS: Final = 1
WARMING: Final = 3
"""Changes that are made first and not counted: a server loads some of its code with the first."""


class _Plan(NamedTuple):
    upstreams: tuple[int, ...]
    streams: tuple[int, ...]
    variants: tuple[str, ...]
    changes: int


_PLANS: Final = {
    Size.SMOKE: _Plan((20,), (5,), ("delta", "sotw"), 3),
    Size.SHORT: _Plan((100, 1_000, 10_000), (1, 100, 500), ("delta", "sotw"), 25),
    Size.FULL: _Plan((100, 1_000, 10_000, 100_000), (1, 100, 500, 2_000), ("delta", "sotw"), 100),
}
_MOST_BYTES: Final = 12_000_000
"""Upstreams times streams above which a first answer to all would take gigabytes, and is left out."""


def one_change(size: Size) -> Iterator[Row]:
    """Each catalogue with each number of streams."""
    plan = _PLANS[size]
    for upstreams in plan.upstreams:
        with stored(catalogue(upstreams, TARGETS)) as store:
            for streams in plan.streams:
                if streams * upstreams > _MOST_BYTES:
                    continue
                for variant in plan.variants:
                    with served(store) as case:
                        yield measured(case, upstreams, streams, variant, plan.changes)


def measured(case: Served, upstreams: int, streams: int, variant: str, changes: int, *, apart: float = APART) -> Row:
    """One case. Raises LoadError where a stream did not get a change, or got more than that."""
    server, api, load = case
    changed = upstreams // 2
    answered = []

    def change(weight: int) -> float:
        written = api.weigh(name(changed), f"{host(changed, 0)}:9", weight)
        answered.append(written.answered_at - written.asked_at)
        return written.asked_at

    row = spread(load, server.pid, upstreams, streams, variant, changes, change, apart=apart)
    return replace(row, figures={**row.figures, "http_median_ms": 1000 * median(answered[WARMING:])})


def spread(
    load: Load,
    pid: int,
    upstreams: int,
    streams: int,
    variant: str,
    changes: int,
    change: Callable[[int], float],
    *,
    apart: float = APART,
) -> Row:
    """How changes of one upstream spread to all streams. `change`: gives its target a weight, and returns when it was asked to.
    Raises LoadError."""
    opened = load.open(streams, [name(number) for number in range(upstreams)], variant=variant)
    each, last, client, busy, wire, messages = [], [], [], [], 0, 0
    meter = Meter(pid)
    for number in range(-WARMING, changes):
        if number == 0:
            meter.read()
        load.expect()
        asked = change(2 + WARMING + number)
        arrived = load.arrived()
        if len(arrived["resources"]) != 1 or arrived["messages"] != streams:
            raise LoadError(f"one change became {arrived['messages']} messages of {arrived['resources'][:5]}")
        time.sleep(max(0.0, asked + apart - time.monotonic()))
        if number < 0:
            continue
        times = [at - asked for at in arrived["acknowledged_at"]]
        each += times
        last.append(times[-1])
        client.append(arrived["cpu"])
        busy.append(arrived["cpu"] / times[-1])
        wire += arrived["bytes_in"]
        messages += arrived["messages"]
    cpu = meter.read()
    return Row(
        "one-change",
        {"upstreams": upstreams, "streams": streams, "variant": variant},
        {
            **milliseconds(last, "last_ack"),
            "any_ack_median_ms": 1000 * median(each),
            "server_cpu_ms_per_change": 1000 * cpu / changes,
            "server_cpu_us_per_message": 1e6 * cpu / messages,
            "server_peak_mib": peak_memory(pid) / 2**20,
            "wire_bytes_per_message": wire / messages,
            "first_answer_s": opened["seconds"],
            "client_cpu_us_per_message": 1e6 * sum(client) / messages,
            "client_busy_percent": 100 * median(busy),
        },
    )
