"""Who receives what: definitions' node selectors, and the groups of nodes that follow from them.

A group is named by the selectors that match its nodes, so that nodes which match the same ones share one snapshot.
"""

from collections import Counter

from xds_server.upstreams.model import Locality, NodeSelector
from xds_server.xds import Node

EVERYONE = ""
"""Key of the selector that matches every node, and name of the group that matches no other one."""


def selector_key(selector: NodeSelector) -> str:
    """A selector as text, equal for equal selectors."""
    return EVERYONE if selector == NodeSelector() else selector.model_dump_json(exclude_defaults=True)


class Audiences:
    """The selectors in use, counted, and the groups that nodes fall into."""

    def __init__(self) -> None:
        self._selectors: dict[str, NodeSelector] = {}
        self._uses: Counter[str] = Counter()

    def add(self, selector: NodeSelector) -> bool:
        """Count one use; returns whether the selector is new, so that nodes may fall into other groups."""
        key = selector_key(selector)
        self._uses[key] += 1
        self._selectors[key] = selector
        return self._uses[key] == 1 and key != EVERYONE

    def remove(self, selector: NodeSelector) -> bool:
        """Take one use back; returns whether it was the last."""
        key = selector_key(selector)
        self._uses[key] -= 1
        if self._uses[key] > 0:
            return False
        del self._uses[key], self._selectors[key]
        return key != EVERYONE

    def group_of(self, node: Node) -> str:
        """The name of the group that `node` falls into."""
        matched = (key for key, selector in self._selectors.items() if key != EVERYONE and matches(selector, node))
        return "\n".join(sorted(matched))


def receives(group: str, key: str) -> bool:
    """Whether a group receives definitions whose selector has this key."""
    return key == EVERYONE or key in group.split("\n")


def matches(selector: NodeSelector, node: Node) -> bool:
    """Whether a node is meant: every kind that the selector gives must match, by one of its entries; labels by all."""
    return (
        (not selector.clusters or node.cluster in selector.clusters)
        and (not selector.ids or node.id in selector.ids)
        and (not selector.localities or any(_within(locality, node) for locality in selector.localities))
        and all(node.metadata.get(label) == value for label, value in selector.labels.items())
    )


def _within(locality: Locality, node: Node) -> bool:
    return (
        locality.region in ("", node.region)
        and locality.zone in ("", node.zone)
        and locality.sub_zone in ("", node.sub_zone)
    )
