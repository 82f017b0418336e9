"""The way from definitions to clients: compiles what changed, and puts it into the snapshots of the groups that it concerns.

A definition that cannot be served is refused: the last good one stays in force, with its audience, its host names and its
resources, and everything else goes on. What is compiled is put in force in one step, so that nobody is served half of a
change. A change costs what it touches, except the shared route configuration, which is one message: its virtual hosts are
encoded once and joined.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from xds_server.catalog.changes import Change
from xds_server.delivery.audience import EVERYONE, receives
from xds_server.delivery.compiled import Compiled, NotServableError, compile_gateway, compile_upstream
from xds_server.delivery.in_force import Definition, InForce, Key, hosts_of
from xds_server.resolvers.dns import Lookup, Resolver
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import ROUTES_NAME, encode_route_configuration
from xds_server.xds import ENDPOINTS, ROUTES, DiscoveryServer, Limits, Node, Resource, Snapshot

SLICE: Final = 25
"""Definitions that are compiled before other work on the event loop gets its turn."""

log = structlog.get_logger("delivery")


class _Refused(NamedTuple):
    definition: Definition
    problem: str


class _Served(NamedTuple):
    audience: str
    compiled: Compiled


class Publisher:
    """Applies changes of the catalogue to what `server` serves."""

    def __init__(
        self, lookup: Lookup | None = None, *, identifier: str = "", limits: Limits | None = None
    ) -> None:
        """`identifier`, `limits`: of the `DiscoveryServer`."""
        self.server = DiscoveryServer(self._group_of, identifier=identifier, limits=limits)
        self.resolver = Resolver(self._resolved, lookup)
        self._in_force = InForce()
        self._compiled: dict[Key, Compiled] = {}
        self._refused: dict[Key, _Refused] = {}
        self._loaded = False
        self._turn = asyncio.Lock()

    async def apply(self, change: Change) -> None:
        """Serve the definitions of `change` instead of what they replace. The whole change reaches each client at once."""
        async with self._turn:
            # What was refused is tried again: what stood in its way may be gone now.
            wanted: dict[Key, Definition | None] = {key: refused.definition for key, refused in self._refused.items()}
            wanted |= {("upstream", name): placed for name, placed in change.upstreams.items()}
            wanted |= {("gateway", name): placed for name, placed in change.gateways.items()}
            wanted |= dict.fromkeys(("upstream", name) for name in change.removed_upstreams)
            wanted |= dict.fromkeys(("gateway", name) for name in change.removed_gateways)
            hosts = {host for definition in wanted.values() for host in hosts_of(definition)}
            hosts |= {host for refused in self._refused.values() for host in hosts_of(refused.definition)}
            await self.resolver.add(hosts)
            compiled, problems = await self._compile(wanted)
            problems |= self._in_force.claimed_twice({key: d for key, d in wanted.items() if key not in problems})
            self._refuse({key: _Refused(d, problems[key]) for key, d in wanted.items() if d and key in problems})
            hosts |= {host for key in wanted for host in hosts_of(self._in_force.definitions.get(key))}
            self._put_in_force({key: d for key, d in wanted.items() if key not in problems}, compiled)
            # What is refused is tried again with every change, and its names must not be looked up anew each time.
            kept = {host for refused in self._refused.values() for host in hosts_of(refused.definition)}
            self.resolver.drop(hosts - self._in_force.hosts.keys() - kept)

    async def _resolved(self, hosts: frozenset[str]) -> None:
        async with self._turn:
            keys = {key for host in hosts for key in self._in_force.hosts.get(host, ())}
            definitions: dict[Key, Definition | None] = {key: self._in_force.definitions[key] for key in keys}
            compiled, _ = await self._compile(definitions)
            self._put_in_force({key: definitions[key] for key in compiled}, compiled)

    # Compiling

    async def _compile(self, wanted: Mapping[Key, Definition | None]) -> tuple[dict[Key, Compiled], dict[Key, str]]:
        """What each definition becomes, or why it cannot be served."""
        compiled: dict[Key, Compiled] = {}
        problems: dict[Key, str] = {}
        for count, (key, definition) in enumerate(wanted.items(), 1):
            try:
                if definition is not None:
                    compiled[key] = self._compile_one(key, definition)
            except NotServableError as error:
                problems[key] = str(error)
            except Exception as error:
                # A mistake of ours with one definition must not take the others down with it.
                log.debug("definition.failed", at=str(definition), name=key[1], exc_info=True)
                problems[key] = f"an error of xds-server itself, please report it: {error!r}"
            if count % SLICE == 0:
                await asyncio.sleep(0)
        return compiled, problems

    def _compile_one(self, key: Key, definition: Definition) -> Compiled:
        if isinstance(definition.value, Upstream):
            before = self._compiled.get(key)
            served = before is not None and any(resource.type_url == ENDPOINTS for resource in before.resources)
            return compile_upstream(definition.value, self.resolver.addresses, served=served)
        return compile_gateway(definition.value)

    def _refuse(self, refused: dict[Key, _Refused]) -> None:
        """Tell of each refusal once."""
        for key, new in refused.items():
            if self._refused.get(key) != new:
                serves = key in self._compiled
                log.error(
                    "definition.refused",
                    at=str(new.definition),
                    name=key[1],
                    problem=new.problem,
                    last_good_serves=serves,
                )
        self._refused = refused

    # Publishing. Nothing from here on pauses.

    def _put_in_force(self, accepted: Mapping[Key, Definition | None], compiled: Mapping[Key, Compiled]) -> None:
        touched = {*accepted, *(gateway for key in accepted for gateway in self._in_force.gateways_of(key))}
        before = {key: self._served(key) for key in touched}
        regroup = False
        for key, definition in accepted.items():
            regroup |= self._in_force.put(key, definition)
            if definition is None:
                self._compiled.pop(key, None)
            else:
                self._compiled[key] = compiled[key]
        self._loaded = True
        for group in {EVERYONE, *self.server.groups}:
            self._update(group, before)
        if regroup:
            self.server.regroup()
            self.server.drop_groups(keep={EVERYONE})

    def _served(self, key: Key) -> _Served | None:
        compiled = self._compiled.get(key)
        audience = self._in_force.audience(key) if compiled is not None else None
        return _Served(audience, compiled) if compiled is not None and audience is not None else None

    def _update(self, group: str, before: Mapping[Key, _Served | None]) -> None:
        """Bring a group's snapshot from what was served `before` to what is served now."""
        snapshot = self.server.snapshot(group)
        if snapshot is None:
            self.server.set_snapshot(self._build(group), group)
            return
        upsert: list[Resource] = []
        stale: set[tuple[str, str]] = set()
        rerouted = False
        for key, was in before.items():
            old, new = _for_group(was, group), _for_group(self._served(key), group)
            stale |= {(r.type_url, r.name) for r in (old.resources if old else ())}
            upsert += new.resources if new else ()
            rerouted |= key[0] == "gateway" or (old and old.virtual_host) != (new and new.virtual_host)
        if rerouted:
            routes = self._routes(group)
            upsert += routes
            stale |= set() if routes else {(ROUTES, ROUTES_NAME)}
        kept = {(r.type_url, r.name) for r in upsert}
        self.server.set_snapshot(snapshot.change(upsert, stale - kept), group)

    def _build(self, group: str) -> Snapshot:
        """Everything that a group receives."""
        mine = [compiled for key in self._compiled if (compiled := _for_group(self._served(key), group)) is not None]
        return Snapshot.of([*(r for compiled in mine for r in compiled.resources), *self._routes(group)])

    def _routes(self, group: str) -> list[Resource]:
        """The one route configuration of a group; none where no gateway would ask for it."""
        if not self._in_force.routes_by_host:
            return []
        hosts = (
            compiled.virtual_host
            for key in sorted(self._compiled)
            if (compiled := _for_group(self._served(key), group)) is not None and compiled.virtual_host is not None
        )
        return [Resource.encode(ROUTES, ROUTES_NAME, encode_route_configuration(hosts))]

    def _group_of(self, node: Node) -> str:
        group = self._in_force.group_of(node)
        if self._loaded and self.server.snapshot(group) is None:
            self.server.set_snapshot(self._build(group), group)
        return group


def _for_group(served: _Served | None, group: str) -> Compiled | None:
    return served.compiled if served is not None and receives(group, served.audience) else None
