"""What is in force, as the snapshots of the groups that nodes fall into. Nothing here pauses: a change comes in one step.

A change costs what it touches, except the shared route configuration, which is one message: its virtual hosts are encoded
once and joined.
"""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from xds_server.delivery.audience import EVERYONE, NodeGroup
from xds_server.delivery.compiled import Compiled
from xds_server.delivery.compiling import Made
from xds_server.delivery.in_force import InForce, Key
from xds_server.delivery.mirror import Mirror
from xds_server.delivery.needs import NOTHING, Needs
from xds_server.upstreams.translate import ROUTES_NAME, Dialect, encode_route_configuration
from xds_server.xds import ROUTES, DiscoveryServer, Resource, Snapshot


class Served(NamedTuple):
    """What a definition in force became, and for whom."""

    audience: str
    compiled: Compiled

    def to(self, group: NodeGroup) -> Compiled | None:
        """What a group receives of it."""
        return self.compiled if group.receives(self.audience) else None


class Snapshots:
    """Keeps the snapshots of `server`, and of its `mirror`, to what is in force."""

    def __init__(self, server: DiscoveryServer, mirror: Mirror | None) -> None:
        self._server, self._mirror = server, mirror
        self.in_force = InForce()
        self.compiled: dict[Dialect, dict[Key, Compiled]] = {Dialect.ADS: {}}
        """What is in force, for each dialect that anybody ever asked in."""
        self.is_loaded = False
        """Whether it is known what is in force."""
        self._groups = {EVERYONE.name: EVERYONE}
        self._is_unwritten = False

    # What is in force

    def put(self, accepted: Mapping[Key, Made], needs: Mapping[Key, Needs]) -> None:
        """Put definitions in force as what they became, or take them out."""
        touched = {*accepted, *(gateway for key in accepted for gateway in self.in_force.gateways_of(key))}
        before = {dialect: {key: self.served(dialect, key) for key in touched} for dialect in self.compiled}
        regroup = False
        for key, each in accepted.items():
            regroup |= self.in_force.put(key, each.definition, needs.get(key, NOTHING))
            for dialect, there in self.compiled.items():
                if dialect in each.compiled:
                    there[key] = each.compiled[dialect]
                else:
                    there.pop(key, None)
        self.is_loaded = True
        for group in self._groups.values():
            if group.dialect in before:
                self._update(group, before[group.dialect])
        if regroup:
            self._regroup()

    def put_dialect(self, dialect: Dialect, compiled: dict[Key, Compiled]) -> None:
        """Everything in force, for a dialect that nobody asked in before."""
        self.compiled[dialect] = compiled
        for group in self._groups.values():
            if group.dialect is dialect:
                self._set_first(group)

    def put_unwritten(self) -> None:
        """Until the first `put`, serve that nothing was ever written (`Snapshot.unwritten`)."""
        if not self.is_loaded:
            self._is_unwritten = True
            for group in self._groups.values():
                self._set_first(group)

    def served(self, dialect: Dialect, key: Key) -> Served | None:
        """What is in force of a definition in a dialect."""
        compiled = self.compiled[dialect].get(key)
        audience = self.in_force.audience(key) if compiled is not None else None
        return Served(audience, compiled) if compiled is not None and audience is not None else None

    def for_group(self, group: NodeGroup, key: Key) -> Compiled | None:
        """What a group receives of a definition."""
        served = self.served(group.dialect, key)
        return served.to(group) if served is not None else None

    # Groups

    def add(self, group: NodeGroup) -> None:
        """Serve a group from now on, if anything is compiled for its dialect."""
        self._groups[group.name] = group
        if group.dialect in self.compiled and self._server.snapshot(group.name) is None:
            self._set_first(group)

    def group(self, name: str) -> NodeGroup | None:
        """A group by its name."""
        return self._groups.get(name)

    def release(self, groups: Iterable[str]) -> None:
        """Forget those of these groups that no other process wants any more."""
        self._keep(self._groups.keys() - (set(groups) - self._wanted_elsewhere))

    @property
    def _wanted_elsewhere(self) -> Set[str]:
        return self._mirror.wanted if self._mirror is not None else frozenset()

    def _regroup(self) -> None:
        self._server.regroup()
        self._keep(self._wanted_elsewhere)
        if self._mirror is not None:
            self._mirror.select(self.in_force.selectors)

    def _keep(self, names: Set[str]) -> None:
        """Forget the others, unless anybody here is in them."""
        self._server.drop_groups(keep={EVERYONE.name, *names})
        kept = {*self._server.groups, *names}
        self._groups = {name: group for name, group in self._groups.items() if name in kept}
        if self._mirror is not None:
            self._mirror.keep(self._groups.keys())

    # Snapshots

    def _set(self, snapshot: Snapshot, group: str) -> None:
        self._server.set_snapshot(snapshot, group)
        if self._mirror is not None:
            self._mirror.serve(group, snapshot)

    def _set_first(self, group: NodeGroup) -> None:
        """Serve a group what there is, if that is known."""
        if self.is_loaded:
            self._set(self._build(group), group.name)
        elif self._is_unwritten and group.dialect in self.compiled:
            self._set(Snapshot.unwritten(), group.name)

    def _update(self, group: NodeGroup, before: Mapping[Key, Served | None]) -> None:
        """Bring a group's snapshot from what was served `before` to what is served now."""
        snapshot = self._server.snapshot(group.name)
        if snapshot is None:
            self._set(self._build(group), group.name)
            return
        upsert: list[Resource] = []
        stale: set[tuple[str, str]] = set()
        rerouted = False
        for key, was in before.items():
            old, new = was.to(group) if was is not None else None, self.for_group(group, key)
            stale |= {(r.type_url, r.name) for r in (old.resources if old else ())}
            upsert += new.resources_at(group.place) if new else ()
            rerouted |= key[0] == "gateway" or (old and old.virtual_host) != (new and new.virtual_host)
        if rerouted and group.dialect.is_envoys:
            routes = self._routes(group)
            upsert += routes
            stale |= set() if routes else {(ROUTES, ROUTES_NAME)}
        kept = {(r.type_url, r.name) for r in upsert}
        self._set(snapshot.change(upsert, stale - kept), group.name)

    def _build(self, group: NodeGroup) -> Snapshot:
        """Everything that a group receives."""
        known = self.compiled[group.dialect]
        mine = [compiled for key in known if (compiled := self.for_group(group, key)) is not None]
        return Snapshot.of(
            [*(r for compiled in mine for r in compiled.resources_at(group.place)), *self._routes(group)]
        )

    def _routes(self, group: NodeGroup) -> list[Resource]:
        """The one route configuration of a group; none where no gateway would ask for it."""
        if not group.dialect.is_envoys or not self.in_force.routes_by_host:
            return []
        hosts = (
            compiled.virtual_host
            for key in sorted(self.compiled[group.dialect])
            if (compiled := self.for_group(group, key)) is not None and compiled.virtual_host is not None
        )
        return [Resource.encode(ROUTES, ROUTES_NAME, encode_route_configuration(hosts))]
