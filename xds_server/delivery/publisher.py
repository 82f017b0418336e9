"""The way from definitions to clients: compiles what changed, and puts it into the snapshots of the groups that it concerns.

A definition that cannot be served is refused: the last good one stays in force, with its audience, its host names and its
resources, and everything else goes on. What is compiled is put in force in one step (`snapshots`), so that nobody is served
half of a change.

Everything is compiled for aggregated streams, and what cannot be is refused. For another dialect it is compiled from the
first node on that asks in it; what this one dialect cannot express is left out of it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from xds_server.catalog.changes import Change
from xds_server.delivery.audience import EVERYONE, NodeGroup
from xds_server.delivery.compiled import Compiled, decoded
from xds_server.delivery.compiling import Compiler, Made, needs_of_all
from xds_server.delivery.earlier import History, earlier
from xds_server.delivery.effects import Effects, effects
from xds_server.delivery.in_force import Definition, Key
from xds_server.delivery.kept import Kept
from xds_server.delivery.mirror import Mirror
from xds_server.delivery.moments import Clock, Input, Moments
from xds_server.delivery.needs import NOTHING as NO_NEEDS
from xds_server.delivery.needs import Needs
from xds_server.delivery.packing import unpacked
from xds_server.delivery.reports import Reports, tell_applied
from xds_server.delivery.snapshots import Served, Snapshots
from xds_server.fleet import Commit, Fleet
from xds_server.resolvers import Lookup, Question
from xds_server.resolvers.dns import Resolver
from xds_server.secrets.store import Key as SecretKey
from xds_server.secrets.store import SecretStore
from xds_server.upstreams.recent import Recent
from xds_server.upstreams.translate import Dialect
from xds_server.xds import Authorize, DiscoveryServer, Limits, Node, Resource

SLICE: Final = 250
"""Definitions that are taken as they were before other work on the event loop gets its turn."""

log = structlog.get_logger("delivery")


class _Refused(NamedTuple):
    definition: Definition
    problem: str
    needs: Needs


class _Start(NamedTuple):
    """A dialect is being compiled for its first nodes, while changes go on."""

    task: asyncio.Task[None]
    missed: set[Key]
    """What was put in force meanwhile."""


_Wanted = Mapping[Key, Definition | None]


class Publisher:
    """Applies changes of the catalogue to what `server` serves."""

    def __init__(
        self,
        lookup: Lookup | None = None,
        *,
        identifier: str = "",
        limits: Limits | None = None,
        clock: Clock | None = None,
        secrets: Path | None = None,
        authorize: Authorize | None = None,
        history: History | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        """`identifier`, `limits`, `authorize`: of the `DiscoveryServer`. `secrets`: directory of those that definitions
        name. `history`: where to look for what was served before this process began. `mirror`: of processes that serve the
        same."""
        self._history = history
        self._mirror = mirror
        self.server = DiscoveryServer(
            self._group_of, authorize=authorize, identifier=identifier, limits=limits, history=self.look_back
        )
        self.fleet = Fleet(self.server)
        self.resolver = Resolver(self._resolved, lookup)
        self.moments = Moments(self._due, clock)
        self.secrets = SecretStore(secrets, self._rotated)
        self._snapshots = Snapshots(self.server, mirror)
        self._in_force, self._compiled = self._snapshots.in_force, self._snapshots.compiled
        self._recent: Recent[Kept] = Recent()
        self._starting: dict[Dialect, _Start] = {}
        self._refused: dict[Key, _Refused] = {}
        self._reports = Reports()
        self.on_served: Callable[[Mapping[Key, Made], Mapping[Key, Needs]], None] = lambda made, needs: None
        """Called with what definitions became that were compiled and are served now, and what they need beside themselves."""
        self._turn = asyncio.Lock()

    async def apply(
        self, change: Change, commit: Commit | None = None, *, ready: dict[Key, bytes] | None = None
    ) -> None:
        """Serve the definitions of `change` instead of what they replace. The whole change reaches each client at once.

        `commit`: the revision that this is, for `fleet` to follow to the nodes that it concerns. What is served for another
        reason, new addresses say, belongs to none. `ready`: what definitions became in an earlier run; it is emptied.
        """
        async with self._turn:
            # What was refused is tried again: what stood in its way may be gone now.
            wanted: dict[Key, Definition | None] = {key: refused.definition for key, refused in self._refused.items()}
            wanted |= {("upstream", name): placed for name, placed in change.upstreams.items()}
            wanted |= {("gateway", name): placed for name, placed in change.gateways.items()}
            wanted |= dict.fromkeys(("upstream", name) for name in change.removed_upstreams)
            wanted |= dict.fromkeys(("gateway", name) for name in change.removed_gateways)
            known = await self._known(wanted, ready or {})
            needs = await needs_of_all({key: d for key, d in wanted.items() if d is not None and key not in known})
            released = [*needs.values(), *(refused.needs for refused in self._refused.values())]
            await self.resolver.add({host for each in released for host in each.hosts})
            await self.secrets.add({secret for each in released for secret in each.secrets})
            made = await self._compiler(with_lints=True).all(wanted, known)
            problems = {key: each.problem for key, each in made.items() if each.problem is not None}
            problems |= self._in_force.claimed_twice({key: d for key, d in wanted.items() if key not in problems})
            refusals = {key: d for key, d in wanted.items() if d is not None and key in problems}
            self._refuse({key: _Refused(d, problems[key], needs.get(key, NO_NEEDS)) for key, d in refusals.items()})
            released += [self._in_force.needs(key) for key in wanted]
            accepted = {key: each for key, each in made.items() if key not in problems}
            self._tell(accepted)
            before = (
                {key: self._snapshots.served(Dialect.ADS, key) for key in accepted} if self._snapshots.is_loaded else {}
            )
            with self.fleet.published(commit) if commit is not None else nullcontext():
                self._put_in_force(accepted, needs)
            if self._mirror is not None and commit is not None:
                self._mirror.published(commit)
            self._reports.tell_lints(accepted)
            self.on_served({key: each for key, each in accepted.items() if key not in known}, needs)
            after = {key: self._snapshots.served(Dialect.ADS, key) for key in before}
            tell_applied({key: _effects(old, after[key], accepted[key]) for key, old in before.items()})
            # What is refused is tried again with every change, and its names must not be looked up anew each time.
            wished = [refused.needs for refused in self._refused.values()]
            kept = self._in_force.hosts.keys() | {host for each in wished for host in each.hosts}
            self.resolver.drop({host for each in released for host in each.hosts} - kept)
            named = self._in_force.secrets.keys() | {secret for each in wished for secret in each.secrets}
            self.secrets.drop({secret for each in released for secret in each.secrets} - named)

    def serve_unwritten(self) -> None:
        """Until the first change, serve that nothing was ever written: for a store that is new. New clients are told that there
        is nothing, and those that hold something keep it (`Snapshot.unwritten`). Without this all are held.
        """
        self._snapshots.put_unwritten()

    @property
    def is_serving(self) -> bool:
        """Whether there is something to serve, and everybody who is to serve it listens."""
        return self.server.serving if self._mirror is None else self.server.ready and self._mirror.serves

    def want(self, group: NodeGroup) -> None:
        """Have a group served from now on: a node fell into it."""
        self._snapshots.add(group)
        if group.dialect not in self._compiled and group.dialect not in self._starting:
            task = asyncio.get_running_loop().create_task(self._start(group.dialect))
            self._starting[group.dialect] = _Start(task, set())

    def release(self, groups: Iterable[str]) -> None:
        """Forget those of these groups that no other process wants any more."""
        self._snapshots.release(groups)

    async def look_back(self, group: str, refused: Resource) -> Resource | None:
        """The version of a resource before the one that a client in `group` refuses; None where it is not known."""
        asked = self._snapshots.group(group)
        if self._history is None or asked is None:
            return None
        return await earlier(refused, asked, self._history, self.secrets)

    def warnings(self, node: Node) -> dict[str, tuple[str, ...]]:
        """How what `node` receives falls short of its definitions, by upstream; those that do not are left out."""
        group = self._in_force.group_of(node)
        received = ((key, self._snapshots.for_group(group, key)) for key in self._compiled.get(group.dialect, ()))
        return {key[1]: compiled.warnings for key, compiled in received if compiled is not None and compiled.warnings}

    def messages(self, key: Key, node: Node | None = None) -> list[Any]:
        """The protobuf messages that a definition became: for any Envoy, or for `node`, which may receive none."""
        if node is None:
            group, compiled = EVERYONE, self._compiled[Dialect.ADS].get(key)
        else:
            group = self._in_force.group_of(node)
            compiled = self._snapshots.for_group(group, key) if group.dialect in self._compiled else None
        return decoded(compiled, group.place) if compiled is not None else []

    async def _resolved(self, hosts: frozenset[Question]) -> None:
        async with self._turn:
            await self._again({key for host in hosts for key in self._in_force.hosts.get(host, ())})

    async def _rotated(self, secrets: frozenset[SecretKey]) -> None:
        async with self._turn:
            await self._again({key for secret in secrets for key in self._in_force.secrets.get(secret, ())})
        if any(secrets & refused.needs.secrets for refused in self._refused.values()):
            await self.apply(Change())  # which tries again what was refused

    async def _due(self, keys: set[Key]) -> None:
        async with self._turn:
            await self._again(keys & self._in_force.definitions.keys())

    async def _again(self, keys: Iterable[Key]) -> None:
        """Compile what is in force once more: something beside the definitions has changed."""
        made = await self._compiler().all({key: self._in_force.definitions[key] for key in keys})
        accepted = {key: each for key, each in made.items() if each.problem is None}
        self._tell(accepted)
        needs = {key: self._in_force.needs(key) for key in accepted}
        self._put_in_force(accepted, needs)
        self.on_served(accepted, needs)

    async def _start(self, dialect: Dialect) -> None:
        """Compile everything for a dialect that nobody asked in before. Its clients are held until that is done."""
        missed = self._starting[dialect].missed
        try:
            compiled = await self._for_dialect({**self._in_force.definitions}, dialect)
            async with self._turn:
                late = {key: self._in_force.definitions.get(key) for key in missed}
                kept = {key: made for key, made in compiled.items() if key not in late}
                self._snapshots.put_dialect(dialect, kept | await self._for_dialect(late, dialect))
        except Exception:
            log.exception("dialect.failed", dialect=dialect.value)
        finally:
            del self._starting[dialect]

    # Compiling

    def _compiler(self, *dialects: Dialect, with_lints: bool = False) -> Compiler:
        """For all dialects in use, unless it is for some."""
        at, polled = self.moments.now(), Dialect.REST in self._compiled

        def now(key: Key, definition: Definition) -> Input:
            return self.moments.input(key, definition, self.resolver.addresses, at, polled=polled)

        return Compiler(
            dialects or tuple(self._compiled),
            now,
            self.secrets,
            self._compiled,
            self._recent,
            with_lints,
        )

    async def _known(self, wanted: _Wanted, ready: dict[Key, bytes]) -> dict[Key, Made]:
        """What is ready of definitions of which nothing is served yet."""
        known: dict[Key, Made] = {}
        for count, key in enumerate([key for key in ready if key in wanted], 1):
            definition, body = wanted[key], ready.pop(key)
            is_new = key not in self._in_force.definitions and key not in self._refused
            if definition is not None and is_new and (made := unpacked(definition, body)) is not None:
                known[key] = made
            if count % SLICE == 0:
                await asyncio.sleep(0)
        return known

    async def _for_dialect(self, wanted: _Wanted, dialect: Dialect) -> dict[Key, Compiled]:
        """What definitions that are in order become for one dialect, without what it cannot express."""
        made = await self._compiler(dialect).all(wanted)
        self._tell(made, dialect)
        return {key: each.compiled[dialect] for key, each in made.items() if dialect in each.compiled}

    def _tell(self, made: Mapping[Key, Made], *dialects: Dialect) -> None:
        """Say what some dialect cannot express."""
        for dialect in dialects or [dialect for dialect in self._compiled if dialect is not Dialect.ADS]:
            for key, each in made.items():
                compiled, problem = each.compiled.get(dialect), each.problems.get(dialect)
                self._reports.tell(dialect, key, each.definition, compiled, problem)

    def _refuse(self, refused: dict[Key, _Refused]) -> None:
        """Tell of each refusal once."""
        for key, new in refused.items():
            if self._refused.get(key) != new:
                serves = key in self._compiled[Dialect.ADS]
                log.error(
                    "definition.refused",
                    at=str(new.definition),
                    name=key[1],
                    problem=new.problem,
                    last_good_serves=serves,
                    meanwhile="the last good one serves" if serves else "no Envoy has it: requests for it fail",
                )
        self._refused = refused

    def _put_in_force(self, accepted: Mapping[Key, Made], needs: Mapping[Key, Needs]) -> None:
        self.moments.accept({key: each.ahead for key, each in accepted.items()})
        self._snapshots.put(accepted, needs)
        for start in self._starting.values():
            start.missed.update(accepted)

    # Called by the server

    def _group_of(self, node: Node) -> str:
        group = self._in_force.group_of(node)
        self.want(group)
        return group.name


def _effects(old: Served | None, new: Served | None, made: Made) -> Effects:
    moved = old is not None and new is not None and old.audience != new.audience
    return effects(old and old.compiled, new and new.compiled, moved=moved, unserved=made.ahead.is_unserved)
