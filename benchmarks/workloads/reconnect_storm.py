"""`reconnect-storm`: all streams are lost at once and return within 3 s, with what they hold (delta) or without (SotW)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from benchmarks.catalogue import name
from benchmarks.figures import Row, milliseconds
from benchmarks.served import Served, catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.usage import Meter, forget_peak, memory, peak_memory

OVER: Final = 3.0
"""Seconds in which they return."""
TARGETS: Final = 1


class _Plan(NamedTuple):
    upstreams: int
    streams: int


_PLANS: Final = {
    Size.SMOKE: _Plan(20, 20),
    Size.SHORT: _Plan(1_000, 1_000),
    Size.FULL: _Plan(1_000, 2_000),
}


def reconnect_storm(size: Size) -> Iterator[Row]:
    """Both variants."""
    plan = _PLANS[size]
    with stored(catalogue(plan.upstreams, TARGETS)) as store:
        for variant in ("delta", "sotw"):
            with served(store) as case:
                yield _measured(case, plan, variant)


def _measured(case: Served, plan: _Plan, variant: str) -> Row:
    server, _, load = case
    names = [name(number) for number in range(plan.upstreams)]
    load.open(plan.streams, names, variant=variant, over=OVER)
    load.close()
    forget_peak(server.pid)
    before = memory(server.pid)
    meter = Meter(server)
    opened = load.open(plan.streams, names, variant=variant, over=OVER, returning=variant == "delta")
    cpu = meter.read()
    return Row(
        "reconnect-storm",
        {"upstreams": plan.upstreams, "streams": plan.streams, "variant": variant, "over_s": OVER},
        {
            "after_last_s": opened["after_last"],
            **milliseconds(opened["first_full"], "first_full"),
            "server_cpu_ms_per_stream": 1000 * cpu / plan.streams,
            "server_growth_at_peak_mib": (peak_memory(server.pid) - before) / 2**20,
            "wire_mib": opened["bytes_in"] / 2**20,
            "client_cpu_percent": 100 * opened["cpu"] / opened["seconds"],
        },
    )
