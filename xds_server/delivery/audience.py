"""Who receives what: how nodes ask, definitions' node selectors, and the groups of nodes that follow from both."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from xds_server.upstreams.model import Locality, NodeSelector
from xds_server.upstreams.translate import Dialect
from xds_server.xds import Node

ALL_NODES: Final = ""
"""Key of the selector that matches every node."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that ask in the same way and match the same selectors, and so share one snapshot."""

    dialect: Dialect
    selectors: frozenset[str] = frozenset()
    """Keys of the selectors in use that match its nodes, without `ALL_NODES`."""

    @property
    def name(self) -> str:
        """What the discovery server knows it by."""
        return "\n".join([self.dialect.value, *sorted(self.selectors)])

    def receives(self, audience: str) -> bool:
        """Whether it receives definitions whose selector has the key `audience`."""
        return audience == ALL_NODES or audience in self.selectors


EVERYONE: Final = NodeGroup(Dialect.ADS)
"""The nodes that ask as most do and that match no selector. It is there even while no node is in it."""


def dialect_of(node: Node) -> Dialect:
    """How a node asks. A gRPC client is one however it asks: it cannot use what an Envoy is sent."""
    if node.is_grpc:
        return Dialect.GRPC_CLIENT
    if node.service == "per-type":
        return Dialect.PER_TYPE_DELTA if node.variant == "delta" else Dialect.PER_TYPE
    return Dialect.REST if node.service == "rest" else Dialect.ADS


def selector_key(selector: NodeSelector) -> str:
    """A selector as text of one line, equal for equal selectors."""
    return ALL_NODES if selector == NodeSelector() else selector.model_dump_json(exclude_defaults=True)


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
        return self._uses[key] == 1 and key != ALL_NODES

    def remove(self, selector: NodeSelector) -> bool:
        """Take one use back; returns whether it was the last."""
        key = selector_key(selector)
        self._uses[key] -= 1
        if self._uses[key] > 0:
            return False
        del self._uses[key], self._selectors[key]
        return key != ALL_NODES

    def group_of(self, node: Node) -> NodeGroup:
        """The group that `node` falls into."""
        matched = (key for key, selector in self._selectors.items() if key != ALL_NODES and matches(selector, node))
        return NodeGroup(dialect_of(node), frozenset(matched))


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
