"""Who receives what: how nodes ask, definitions' node selectors, and the groups of nodes that follow from both."""

import json
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final, Protocol

from xds_server.upstreams.model import Locality, NodeSelector
from xds_server.upstreams.translate import NOWHERE, Dialect, Place
from xds_server.xds import Node

_EVERY: Final = NodeSelector()
ALL_NODES: Final = ""
"""Key of the selector that matches every node."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that ask in the same way, match the same selectors and are at the same place, where one of these says that places
    matter. They share one snapshot."""

    dialect: Dialect
    selectors: frozenset[str] = frozenset()
    """Keys of the selectors in use that match its nodes, without `ALL_NODES`."""
    place: Place = NOWHERE
    """Where its nodes are; `NOWHERE` as well where no definition that they receive asks for it."""

    @property
    def name(self) -> str:
        """What the discovery server knows it by."""
        place = [] if self.place == NOWHERE else [json.dumps(self.place)]  # as a list, which no selector is
        return "\n".join([self.dialect.value, *place, *sorted(self.selectors)])

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


class Placement(Protocol):
    """What an upstream says of who receives it."""

    @property
    def nodes(self) -> NodeSelector: ...
    @property
    def is_nearest_first(self) -> bool: ...


def selector_key(selector: NodeSelector) -> str:
    """A selector as text of one line, equal for equal selectors."""
    return ALL_NODES if selector == _EVERY else selector.model_dump_json(exclude_defaults=True)


def selector_of(key: str) -> NodeSelector:
    """The selector that a key is of."""
    return NodeSelector() if key == ALL_NODES else NodeSelector.model_validate_json(key)


def grouped(node: Node, selectors: Mapping[str, NodeSelector], by_place: Set[str]) -> NodeGroup:
    """The group that `node` falls into. `selectors`: those in use, by key; `by_place`: keys of those with which any definition
    asks for places."""
    matched = {key for key, selector in selectors.items() if matches(selector, node)}
    place = Place(node.region, node.zone) if matched & by_place else NOWHERE
    return NodeGroup(dialect_of(node), frozenset(matched - {ALL_NODES}), place)


class Audiences:
    """The selectors in use, counted, and the groups that nodes fall into."""

    def __init__(self) -> None:
        self._selectors: dict[str, NodeSelector] = {}
        self._uses: Counter[str] = Counter()
        self._uses_by_place: Counter[str] = Counter()

    def add(self, upstream: Placement) -> bool:
        """Count one use of its selector; returns whether nodes may fall into other groups now."""
        key = selector_key(upstream.nodes)
        self._selectors[key] = upstream.nodes
        is_new = _count(self._uses, key) and key != ALL_NODES
        return (upstream.is_nearest_first and _count(self._uses_by_place, key)) or is_new

    def remove(self, upstream: Placement) -> bool:
        """Take one use back; returns whether nodes may fall into other groups now."""
        key = selector_key(upstream.nodes)
        no_place = upstream.is_nearest_first and _count(self._uses_by_place, key, -1)
        if not _count(self._uses, key, -1):
            return no_place
        del self._selectors[key]
        return no_place or key != ALL_NODES

    def group_of(self, node: Node) -> NodeGroup:
        """The group that `node` falls into."""
        return grouped(node, self._selectors, self._uses_by_place.keys())

    @property
    def in_use(self) -> dict[str, bool]:
        """All that decides it: the keys of the selectors in use, and whether any definition with it asks for places."""
        return {key: key in self._uses_by_place for key in self._selectors}


def _count(uses: Counter[str], key: str, step: int = 1) -> bool:
    """Count up or down; returns whether this was the first use, or the last."""
    uses[key] += step
    if uses[key] == 0:
        del uses[key]
        return True
    return step > 0 and uses[key] == 1


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
