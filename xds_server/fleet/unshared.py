"""What changed of this process's part of the fleet since the others were told last: names and numbers only."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from xds_server.xds import Event

_OF_NOBODY: Final = "refused"
"""The event of one who was not let in, and who may say any id."""


class Unshared:
    """Noting that something changed costs a look-up; what it is now is asked when it is told."""

    def __init__(self) -> None:
        self._nodes: dict[str, None] = {}
        self._revisions: dict[int, None] = {}
        self.ring: Callable[[], object] = lambda: None
        """Called when there is something to tell."""

    def __bool__(self) -> bool:
        """Whether there is."""
        return bool(self._nodes or self._revisions)

    def note(self, event: Event) -> None:
        """Something happened on a stream."""
        if event.node is not None and event.kind != _OF_NOBODY:
            self._nodes[event.node.id] = None
            self.ring()

    def add(self, nodes: Iterable[str] = (), revisions: Iterable[int] = ()) -> None:
        """These changed."""
        self._nodes.update(dict.fromkeys(nodes))
        self._revisions.update(dict.fromkeys(revisions))
        self.ring()

    def clear(self) -> None:
        """As if nothing had changed."""
        self._nodes, self._revisions = {}, {}

    def take_nodes(self, most: int) -> list[str]:
        """The ids of nodes that changed, the first that did so, and not more than `most`; they are told by now."""
        taken = list(islice(self._nodes, most))
        for node_id in taken:
            del self._nodes[node_id]
        return taken

    def take_revisions(self) -> list[int]:
        """All revisions that came further; they are told by now."""
        taken, self._revisions = list(self._revisions), {}
        return taken
