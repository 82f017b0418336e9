"""The definitions in force, and what has to be found in them quickly: host names, gateways, audiences."""

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import TypeVar

from xds_server.delivery.audience import ALL_NODES, Audiences, NodeGroup, selector_key
from xds_server.delivery.resolving import questions
from xds_server.resolvers import Question
from xds_server.secrets.store import Key as SecretKey
from xds_server.upstreams.model import Gateway, Placed, Upstream, may_share_envoy
from xds_server.upstreams.translate import held_secrets
from xds_server.xds import Node

Key = tuple[str, str]
"""Kind (``upstream`` or ``gateway``) and name of a definition."""
Definition = Placed[Upstream] | Placed[Gateway]
Index = dict[str, set[Key]]
T = TypeVar("T", bound=Hashable)


class InForce:
    """Definitions by key, with their indexes, kept in step by `put`."""

    def __init__(self) -> None:
        self.definitions: dict[Key, Definition] = {}
        self.hosts: dict[Question, set[Key]] = {}
        """What the control plane resolves -> the upstreams whose targets it is for."""
        self.secrets: dict[SecretKey, set[Key]] = {}
        """Secrets that the control plane keeps -> the upstreams that name them."""
        self._claims: Index = {}
        """Virtual host names -> the upstreams that answer for them."""
        self._gateways: Index = {}
        """Upstreams -> the gateways that forward to them alone."""
        self._routing: set[Key] = set()
        self._audiences = Audiences()

    def put(self, key: Key, definition: Definition | None) -> bool:
        """Put a definition in force, or take one out; returns whether nodes may fall into other groups now."""
        old = self.definitions.pop(key, None)
        if definition is not None:
            self.definitions[key] = definition
        _reindex(self.hosts, key, hosts_of(old), hosts_of(definition))
        _reindex(self.secrets, key, secrets_of(old), secrets_of(definition))
        _reindex(self._claims, key, _virtual_hosts(old), _virtual_hosts(definition))
        _reindex(self._gateways, key, _forwards_to(old), _forwards_to(definition))
        self._routing.discard(key)
        if definition is not None and isinstance(definition.value, Gateway) and definition.value.upstream is None:
            self._routing.add(key)
        regroup = False
        if definition is not None and isinstance(definition.value, Upstream):
            regroup |= self._audiences.add(definition.value)
        if old is not None and isinstance(old.value, Upstream):
            regroup |= self._audiences.remove(old.value)
        return regroup

    @property
    def routes_by_host(self) -> bool:
        """Whether any gateway routes by host name."""
        return bool(self._routing)

    def gateways_of(self, key: Key) -> Set[Key]:
        """The gateways that forward to one upstream alone."""
        return self._gateways.get(key[1], set()) if key[0] == "upstream" else set()

    def audience(self, key: Key) -> str | None:
        """Key of the selector of a definition, None for nobody.

        A gateway that forwards to one upstream goes where that one goes, and nowhere while that one is not in force.
        """
        value = self.definitions[key].value
        if isinstance(value, Gateway):
            if value.upstream is None:
                return ALL_NODES
            target = self.definitions.get(("upstream", value.upstream))
            if target is None or not isinstance(target.value, Upstream):
                return None
            value = target.value
        return selector_key(value.nodes)

    def group_of(self, node: Node) -> NodeGroup:
        """The group that a node falls into."""
        return self._audiences.group_of(node)

    @property
    def selectors(self) -> dict[str, bool]:
        """See `Audiences.in_use`."""
        return self._audiences.in_use

    def claimed_twice(self, wanted: Mapping[Key, Definition | None]) -> dict[Key, str]:
        """Of what is `wanted`, the upstreams that claim a host name which another one, that stays in force, answers for.

        A set of definitions never clashes in itself; one that is refused and stays at its last good state can clash with
        what the others became. Envoy would then refuse all routes. Refusing one can free a clash elsewhere, hence the loop.
        """
        refused: dict[Key, str] = {}
        while True:
            moving = wanted.keys() - refused.keys()
            found = {
                key: problem for key in wanted if key in moving and (problem := self._clash(key, wanted[key], moving))
            }
            if not found:
                return refused
            refused |= found

    def _clash(self, key: Key, definition: Definition | None, moving: Set[Key]) -> str:
        if definition is None or not isinstance(definition.value, Upstream):
            return ""
        for host in _virtual_hosts(definition):
            for other in self._claims.get(host, set()) - moving - {key}:
                there = self.definitions[other]
                if isinstance(there.value, Upstream) and may_share_envoy(there.value.nodes, definition.value.nodes):
                    return f"{host!r} is still answered by the last good definition of upstream {other[1]!r}: mend that first"
        return ""


def hosts_of(placed: Definition | None) -> set[Question]:
    """What the control plane resolves for a definition."""
    if placed is None or not isinstance(placed.value, Upstream):
        return set()
    return set(questions(placed.value).values())


def secrets_of(placed: Definition | None) -> set[SecretKey]:
    """Secrets that a definition names and the control plane keeps."""
    return set(held_secrets(placed.value)) if placed is not None and isinstance(placed.value, Upstream) else set()


def _virtual_hosts(placed: Definition | None) -> Iterable[str]:
    return placed.value.virtual_hosts if placed is not None and isinstance(placed.value, Upstream) else ()


def _forwards_to(placed: Definition | None) -> Iterable[str]:
    value = placed.value if placed is not None else None
    return (value.upstream,) if isinstance(value, Gateway) and value.upstream is not None else ()


def _reindex(index: dict[T, set[Key]], key: Key, old: Iterable[T], new: Iterable[T]) -> None:
    old, new = set(old), set(new)
    for entry in old - new:
        index[entry].discard(key)
        if not index[entry]:
            del index[entry]
    for entry in new - old:
        index.setdefault(entry, set()).add(key)
