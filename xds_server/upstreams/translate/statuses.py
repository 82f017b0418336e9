"""Statuses as Envoy takes them: half-open ranges."""

from collections.abc import Iterable, Iterator
from typing import Any

from envoy.type.v3 import range_pb2

from xds_server.upstreams.model.probe_values import status_bounds


def status_ranges(statuses: Iterable[int | str]) -> Iterator[Any]:
    """Statuses as the fewest half-open ranges, in order."""
    start = end = 0
    for first, last in sorted(map(status_bounds, statuses)):
        if first > end:
            if end:
                yield range_pb2.Int64Range(start=start, end=end)
            start = first
        end = max(end, last + 1)
    yield range_pb2.Int64Range(start=start, end=end)
