"""The workloads by name. Each yields a row for each of its cases, and raises when what it measured was not sound."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks.figures import Row
from benchmarks.sizes import Size
from benchmarks.workloads.envoy import envoy
from benchmarks.workloads.one_change import one_change

Workload = Callable[[Size], Iterator[Row]]
WORKLOADS: Final[Mapping[str, Workload]] = {
    "one-change": one_change,
    "envoy": envoy,
}
