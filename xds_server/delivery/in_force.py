"""The definitions in force, and what has to be found in them quickly: host names, gateways, audiences."""

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Final, TypeVar

from xds_server.catalog.facts import Facts, facts_of
from xds_server.catalog.kept import Overridden, Record
from xds_server.catalog.store.records import GATEWAY, UPSTREAM
from xds_server.delivery.audience import ALL_NODES, Audiences, NodeGroup, selector_key
from xds_server.delivery.needs import NOTHING, Needs
from xds_server.resolvers import Question
from xds_server.secrets.store import Key as SecretKey
from xds_server.upstreams.model import Gateway, Located, Upstream, may_share_envoy
from xds_server.xds import Node

Key = tuple[str, str]
"""Kind and name of a definition."""
Definition = Located[Upstream] | Located[Gateway]
Index = dict[str, set[Key]]
T = TypeVar("T", bound=Hashable)
_NOBODY: Final[Set[Key]] = frozenset()


class InForce:
    """Definitions by key, with their indexes, kept in step by `put`."""

    def __init__(self) -> None:
        self.definitions: dict[Key, Definition] = {}
        self.hosts: dict[Question, set[Key]] = {}
        """What the control plane resolves -> the upstreams whose targets it is for."""
        self.secrets: dict[SecretKey, set[Key]] = {}
        """Secrets that the control plane keeps -> the upstreams that name them."""
        self._needs: dict[Key, Needs] = {}
        """Of those that need anything."""
        self._claims: Index = {}
        """Virtual host names -> the upstreams that answer for them."""
        self._gateways: Index = {}
        """Upstreams -> the gateways that forward to them alone."""
        self._routing: set[Key] = set()
        self._audiences = Audiences()

    def put(self, key: Key, definition: Definition | None, needs: Needs = NOTHING) -> bool:
        """Put a definition in force, or take one out; returns whether nodes may fall into other groups now."""
        before = self.definitions.pop(key, None)
        if definition is not None:
            self.definitions[key] = definition
        needed = self._needs.pop(key, NOTHING)
        if needs:
            self._needs[key] = needs
        old = facts(before) if before is not None else Facts()
        new = facts(definition) if definition is not None else Facts()
        _reindex(self.hosts, key, needed.hosts, needs.hosts)
        _reindex(self.secrets, key, needed.secrets, needs.secrets)
        _reindex(self._claims, key, old.virtual_hosts, new.virtual_hosts)
        _reindex(self._gateways, key, _forwards_to(old), _forwards_to(new))
        self._routing.discard(key)
        if key[0] == GATEWAY and definition is not None and new.upstream is None:
            self._routing.add(key)
        regroup = False
        if key[0] == UPSTREAM and definition is not None:
            regroup |= self._audiences.add(new)
        if key[0] == UPSTREAM and before is not None:
            regroup |= self._audiences.remove(old)
        return regroup

    def needs(self, key: Key) -> Needs:
        """What a definition needs; nothing where it is not in force."""
        return self._needs.get(key, NOTHING)

    @property
    def routes_by_host(self) -> bool:
        """Whether any gateway routes by host name."""
        return bool(self._routing)

    def gateways_of(self, key: Key) -> Set[Key]:
        """The gateways that forward to one upstream alone."""
        return self._gateways.get(key[1], set()) if key[0] == UPSTREAM else set()

    def audience(self, key: Key) -> str | None:
        """Key of the selector of a definition, None for nobody.

        A gateway that forwards to one upstream goes where that one goes, and nowhere while that one is not in force.
        """
        said = facts(self.definitions[key])
        if key[0] == GATEWAY:
            if said.upstream is None:
                return ALL_NODES
            target = self.definitions.get((UPSTREAM, said.upstream))
            if target is None:
                return None
            said = facts(target)
        return selector_key(said.nodes)

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
        if definition is None or key[0] != UPSTREAM:
            return ""
        said = facts(definition)
        for host in said.virtual_hosts:
            for other in self._claims.get(host, _NOBODY) - moving:
                if may_share_envoy(facts(self.definitions[other]).nodes, said.nodes):
                    return f"{host!r} is still answered by the last good definition of upstream {other[1]!r}: mend that first"
        return ""


def facts(definition: Definition) -> Facts:
    """What has to be known of a definition; of one that the catalogue keeps without reading it."""
    return definition.facts if isinstance(definition, Record | Overridden) else facts_of(definition.value)


def _forwards_to(facts: Facts) -> Iterable[str]:
    return (facts.upstream,) if facts.upstream is not None else ()


def _reindex(index: dict[T, set[Key]], key: Key, old: Iterable[T], new: Iterable[T]) -> None:
    if not old and not new:
        return
    old, new = set(old), set(new)
    for entry in old - new:
        index[entry].discard(key)
        if not index[entry]:
            del index[entry]
    for entry in new - old:
        index.setdefault(entry, set()).add(key)
