"""Other processes that serve streams what this one compiles, as far as delivery needs to know them."""

from collections.abc import Mapping, Set
from typing import Protocol

from xds_server.fleet import Commit
from xds_server.xds import Snapshot


class Mirror(Protocol):
    """Is told of everything that is served, in one go for each change: between two pauses of the event loop."""

    @property
    def serves(self) -> bool:
        """Whether each of them listens, and has something to serve."""

    @property
    def wanted(self) -> Set[str]:
        """Names of the groups that their clients are in."""

    def serve(self, group: str, snapshot: Snapshot) -> None:
        """A group is served `snapshot` from now on."""

    def select(self, selectors: Mapping[str, bool]) -> None:
        """Nodes may fall into other groups now. `selectors`: see `Audiences.in_use`."""

    def keep(self, groups: Set[str]) -> None:
        """There are only these groups any more."""

    def published(self, commit: Commit) -> None:
        """What was told just now is a revision."""
