"""The workloads by name. Each yields a row for each of its cases, and raises when what it measured was not sound."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks.figures import Row
from benchmarks.sizes import Size
from benchmarks.workloads.big_upstream import big_upstream
from benchmarks.workloads.churn import churn
from benchmarks.workloads.cold_start import cold_start
from benchmarks.workloads.envoy import envoy
from benchmarks.workloads.memory import memory_use
from benchmarks.workloads.one_change import one_change
from benchmarks.workloads.peer import peer
from benchmarks.workloads.reconnect_storm import reconnect_storm
from benchmarks.workloads.scoped import scoped

Workload = Callable[[Size], Iterator[Row]]
WORKLOADS: Final[Mapping[str, Workload]] = {
    "one-change": one_change,
    "peer": peer,
    "envoy": envoy,
    "cold-start": cold_start,
    "churn": churn,
    "reconnect-storm": reconnect_storm,
    "big-upstream": big_upstream,
    "scoped": scoped,
    "memory": memory_use,
}
