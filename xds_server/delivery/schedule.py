"""When something is to be looked at again: one next moment for all keys, so one timer for any number of them. No clock."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """At most one moment for each key, as seconds of any one clock."""

    def __init__(self) -> None:
        self._moments: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        """Of `_moments`, and what is stale: what a key had before."""
        self._count = 0

    def put(self, key: K, moment: float | None) -> None:
        """Have `key` fall due then, instead of when it would have; None for never."""
        if moment is None:
            self._moments.pop(key, None)
        elif self._moments.get(key) != moment:
            self._moments[key] = moment
            self._count += 1  # keys need no order of their own
            heapq.heappush(self._heap, (moment, self._count, key))
        if len(self._heap) > 2 * len(self._moments) + 64:
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    @property
    def next(self) -> float | None:
        """The first moment at which a key falls due; None for none."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> set[K]:
        """The keys whose moment has come; they are taken out."""
        found: set[K] = set()
        while (moment := self.next) is not None and moment <= now:
            key = heapq.heappop(self._heap)[2]
            del self._moments[key]
            found.add(key)
        return found

    def _is_current(self, entry: tuple[float, int, K]) -> bool:
        return self._moments.get(entry[2]) == entry[0]
