"""What nodes may hold that they will not tell of on their next stream. No I/O.

An Envoy applies the good part of a response that it rejects, and leaves it out of `initial_resource_versions` (D20). So the
names are remembered here until an answer shows that they are settled: telling a client to drop what it does not hold
does no harm.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

EVERYTHING: Final = "*"
"""In place of names: the node may have applied, and dropped, any part of a full set."""

_Key = tuple[str, str]


class Memory:
    """Names by node id and type. Bounded: the node that was longest not heard of is forgotten first."""

    def __init__(self, most_names: int = 1_000_000) -> None:
        self._names: OrderedDict[_Key, set[str]] = OrderedDict()
        self._most = most_names
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def note(self, node: str, type_url: str, names: Iterable[str]) -> None:
        """The node may hold `names` of a type."""
        if not (names := set(names)):
            return
        key = (node, type_url)
        known = self._names.setdefault(key, set())
        before = len(known)
        known.update(names)
        self._count += len(known) - before
        self._names.move_to_end(key)
        while self._count > self._most:
            self._count -= len(self._names.popitem(last=False)[1])

    def settle(self, node: str, type_url: str, names: Iterable[str]) -> None:
        """The node answered for `names`: what it holds of them is known now."""
        key = (node, type_url)
        if (known := self._names.get(key)) is None:
            return
        before = len(known)
        known.difference_update(names)
        self._count += len(known) - before
        if not known:
            del self._names[key]

    def recall(self, node: str, type_url: str) -> frozenset[str]:
        """What the node may hold."""
        return frozenset(self._names.get((node, type_url), ()))
