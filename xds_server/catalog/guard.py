"""The guard: a change that takes away very much at once is held until somebody confirms it. Pure.

A source that suddenly became empty (a lost mount, a broken generator, a script without its input) would otherwise empty
every Envoy within a second.
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Guard:
    """What may be removed by one revision."""

    share: float = 50
    """Percent of all targets, or of all upstreams, above which it is held; 100 holds nothing."""
    few: int = 10
    """So many may always go."""

    def objection(self, targets: "Loss", upstreams: "Loss") -> str:
        """Why a change is held; empty when it is not."""
        for what, loss in (("targets", targets), ("upstreams", upstreams)):
            if loss.removed > self.few and loss.removed * 100 > self.share * loss.before:
                return (
                    f"it would remove {loss.removed} of {loss.before} {what}, more than {self.share:g} %: "
                    "nothing of it is served until it is confirmed"
                )
        return ""


class Loss(NamedTuple):
    """How much of something a change removes."""

    removed: int
    before: int
