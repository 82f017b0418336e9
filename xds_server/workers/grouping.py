"""Into which group a node falls, decided by a worker as the manager would. No I/O."""

from collections.abc import Mapping

from xds_server.delivery.audience import EVERYONE, NodeGroup, grouped, selector_of
from xds_server.upstreams.model import NodeSelector
from xds_server.xds import Node


class Grouping:
    """The selectors in use, and the groups that nodes fell into since they are known."""

    def __init__(self) -> None:
        self._selectors: dict[str, NodeSelector] = {}
        self._by_place: frozenset[str] = frozenset()
        self._groups = {EVERYONE.name: EVERYONE}
        self._news: list[NodeGroup] = []

    def select(self, selectors: Mapping[str, bool]) -> None:
        """See `Audiences.in_use`."""
        self._selectors = {key: self._selectors.get(key) or selector_of(key) for key in selectors}
        self._by_place = frozenset(key for key, by_place in selectors.items() if by_place)

    def group_of(self, node: Node) -> str:
        """The name of the node's group."""
        group = grouped(node, self._selectors, self._by_place)
        if group.name not in self._groups:
            self._groups[group.name] = group
            self._news.append(group)
        return group.name

    def take_news(self) -> list[NodeGroup]:
        """Groups into which a node fell for the first time since this was asked last."""
        news, self._news = self._news, []
        return news

    def has(self, name: str) -> bool:
        """Whether any node ever fell into a group."""
        return name in self._groups

    def keep(self, names: tuple[str, ...]) -> list[str]:
        """Forget all groups but these; returns those that were forgotten."""
        kept = {EVERYONE.name, *names}
        gone = [name for name in self._groups if name not in kept]
        for name in gone:
            del self._groups[name]
        return gone
