"""What was made of definitions lately, so that their next change is spared what it leaves as it is.

Only results of pure functions are kept, beside what they were made from: whoever takes one compares that first. What changes
often is here, and the rest takes no memory.
"""

from typing import Final, Generic, TypeVar

MOST_TARGETS: Final = 50_000
"""Targets in all that is remembered together; the newest one stays, however large."""

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest results, by key, and how many targets each is of."""

    def __init__(self, most: int = MOST_TARGETS) -> None:
        self._known: dict[object, tuple[V, int]] = {}
        self._most = most
        self._targets = 0

    def get(self, key: object) -> V | None:
        """What was remembered last by `key`; None where that is forgotten."""
        known = self._known.get(key)
        return known[0] if known is not None else None

    def put(self, key: object, value: V, targets: int) -> None:
        """Remember `value`, and forget what was put in longest ago where that is too much."""
        self.drop(key)
        self._known[key] = (value, targets + 1)
        self._targets += targets + 1
        while self._targets > self._most and len(self._known) > 1:
            self.drop(next(iter(self._known)))

    def drop(self, key: object) -> None:
        """Forget one."""
        _, targets = self._known.pop(key, (None, 0))
        self._targets -= targets
