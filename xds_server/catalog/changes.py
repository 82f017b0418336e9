"""Sets of definitions, and the difference between two of them: what a source of definitions hands to delivery."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from xds_server.upstreams.model import Gateway, Located, Upstream

T = TypeVar("T", Upstream, Gateway)


def _targets(upstream: Located[Upstream]) -> int:
    return len(upstream.value.targets)


@dataclass(frozen=True)
class Change:
    """What became different, by name. True when it holds anything, as its length is the number of definitions in it."""

    upstreams: Mapping[str, Located[Upstream]] = field(default_factory=dict)
    """Upstreams that were added or changed."""
    removed_upstreams: frozenset[str] = frozenset()
    gateways: Mapping[str, Located[Gateway]] = field(default_factory=dict)
    """Gateways that were added or changed."""
    removed_gateways: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.upstreams) + len(self.removed_upstreams) + len(self.gateways) + len(self.removed_gateways)

    def parts(self, size: int, targets: Callable[[Located[Upstream]], int] = _targets) -> Iterator["Change"]:
        """The same change as several small ones of about `size` targets and definitions each; none when it is empty.

        A definition is never divided, so a part may be larger. `targets`: how many an upstream has.
        """
        batch: dict[str, Located[Upstream]] = {}
        weight = 0
        for name, placed in self.upstreams.items():
            batch[name] = placed
            weight += 1 + targets(placed)
            if weight >= size:
                yield Change(batch)
                batch, weight = {}, 0
        if batch:
            yield Change(batch)
        gateways = iter(self.gateways.items())
        while group := dict(islice(gateways, size)):
            yield Change(gateways=group)
        if self.removed_upstreams or self.removed_gateways:
            yield Change(removed_upstreams=self.removed_upstreams, removed_gateways=self.removed_gateways)


@dataclass
class Definitions:
    """All definitions that are in force, by name."""

    upstreams: dict[str, Located[Upstream]] = field(default_factory=dict)
    gateways: dict[str, Located[Gateway]] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Make this set what `change` leads to."""
        self.upstreams.update(change.upstreams)
        self.gateways.update(change.gateways)
        for name in change.removed_upstreams:
            self.upstreams.pop(name, None)
        for name in change.removed_gateways:
            self.gateways.pop(name, None)

    def difference(self, newer: "Definitions") -> Change:
        """The change that leads from this set to `newer`. A definition that only moved to another line is no change;
        one that moved to another file is, as its file decides what happens to it when that file breaks."""
        return Change(
            _changed(self.upstreams, newer.upstreams),
            frozenset(self.upstreams.keys() - newer.upstreams.keys()),
            _changed(self.gateways, newer.gateways),
            frozenset(self.gateways.keys() - newer.gateways.keys()),
        )


def _changed(old: Mapping[str, Located[T]], new: Mapping[str, Located[T]]) -> dict[str, Located[T]]:
    return {name: placed for name, placed in new.items() if not _same(old.get(name), placed)}


def _same(old: Located[T] | None, new: Located[T]) -> bool:
    # Identity first: definitions of a file that was not read again are the same objects.
    return old is new or (old is not None and old.source == new.source and old.value == new.value)
