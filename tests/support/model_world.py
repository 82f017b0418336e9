"""The world of the model clients: groups and their snapshots, connections, and time. Without I/O.

It does with the protocol's state machines what the server does with them: asks a stream to speak after a request, after a
change that concerns it, and when it said that it would have more to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from functools import cache
from typing import Any

import model_awaited
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.runtime.v3 import rtds_pb2
from model_client import FULL_SETS, TYPES, Dislike, ModelClient, Profile, Refusal, endpoints_of
from model_judge import Judge
from model_variants import DeltaClient, SotwClient
from scripted_client import endpoints, listener, routes

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.events import Event
from xds_server.xds.group import Group
from xds_server.xds.memory import Memory
from xds_server.xds.sotw import SotwStream

CLUSTERS = ("a", "b", "c", "d")
NAMES = {
    CLUSTER: CLUSTERS,
    ENDPOINTS: (*CLUSTERS, "shared"),
    LISTENER: ("l", "m"),
    ROUTES: ("l", "m"),
    RUNTIME: ("r", "s"),
}
GROUPS = ("blue", "green")


@cache
def resource(type_url: str, name: str, variant: int, covers: str = "") -> Resource:
    """One of 4 variants of a resource. Of clusters: own endpoints, shared ones, own with another timeout, none."""
    if type_url == CLUSTER:
        message = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.STATIC)
        if variant < 3:
            message.type = cluster_pb2.Cluster.EDS
            message.eds_cluster_config.eds_config.ads.SetInParent()
            message.eds_cluster_config.service_name = "shared" if variant == 1 else ""
        message.connect_timeout.seconds = 1 + variant
        return Resource.of(message)
    if type_url == ENDPOINTS:
        return endpoints(name, 1 + variant, covers)
    if type_url == LISTENER:
        return listener(name, 80 + variant)
    if type_url == ROUTES:
        return routes(name, *(CLUSTERS[variant:] if variant < 3 else ()))
    runtime = rtds_pb2.Runtime(name=name)
    runtime.layer["variant"] = variant
    return Resource.of(runtime, version=f"the caller's {variant}")


@cache
def site(clusters: tuple[str, ...], variant: int, weight: int) -> tuple[Resource, ...]:
    """A sound set: clusters, their endpoints, and a listener whose routes use just these."""
    made = [resource(CLUSTER, name, variant) for name in clusters]
    assigned = [resource(ENDPOINTS, r.references[0].name, weight, r.version) for r in made if r.references]
    return (*made, *{r.name: r for r in assigned}.values(), resource(LISTENER, "l", 0), routes("l", *clusters))


class Connection:
    """One stream of one client."""

    def __init__(self, stream: Any, judge: Judge) -> None:
        self.stream, self.judge = stream, judge
        self.inbox: deque[tuple[Any, bool]] = deque()
        """Responses on their way to the client, and whether they were made for a wildcard."""
        self.asleep = False
        """The client does not read, and so the server cannot write."""
        self.blind = False
        """The server has no snapshot for it."""
        self.awake_since = 0.0


class World:
    def __init__(self, profiles: Iterable[Profile]) -> None:
        self.now = 1000.0
        self.members: dict[str, str] = {}
        self.connections: dict[str, dict[str, Connection]] = {}
        self.clients: dict[str, ModelClient] = {}
        self.events: list[Event] = []
        self.bodies: dict[tuple[str, str], bytes] = {}
        """Of all that was ever published, by type and version."""
        self.labels = 0
        for number, profile in enumerate(profiles):
            node = f"n{number}"
            self.members[node], self.connections[node] = GROUPS[0], {}
            kind = DeltaClient if profile.delta else SotwClient
            self.clients[node] = kind(profile, node, lambda t, m, node=node: self._receive(node, t, m))
        self.start_server({})

    def start_server(self, snapshots: dict[str, Snapshot]) -> None:
        """A new process: it knows what it serves, and nothing else."""
        for node, client in self.clients.items():
            self.disconnect(node)
            for side in client.sides.values():
                side.lost |= side.untold
                side.unsettled.clear()
        self.memory = Memory()
        self.groups = {name: Group(name) for name in GROUPS}
        self.changes = {name: model_awaited.Changes(group) for name, group in self.groups.items()}
        self.past: dict[tuple[str, str, str], dict[str, str]] = {}
        for name, snapshot in snapshots.items():
            self.publish(name, Snapshot.of(snapshot))

    # What the server is given

    def snapshot(self, group: str) -> Snapshot:
        return self.groups[group].snapshot or Snapshot.of()

    def publish(self, group: str, snapshot: Snapshot) -> None:
        here = self.groups[group]
        old = here.snapshot
        if snapshot is old:
            return
        here.publish(snapshot)
        self.changes[group].publish(old, snapshot)
        self.bodies |= {(resource.type_url, resource.version): resource.body for resource in snapshot}
        for type_url in FULL_SETS:
            contents = {r.name: r.version for r in snapshot.resources(type_url)}
            known = self.past.setdefault((group, type_url, snapshot.version(type_url)), contents)
            assert known == contents, "S68: one version, two contents"
        for connection in self._connections():
            if connection.stream.group is here:
                if connection.stream.advance(old, snapshot):
                    self.changes[group].concern(connection.stream, connection.judge.client)
                    self.pump(connection)
                else:
                    self._look(connection)

    def move(self, node: str, group: str) -> None:
        self.members[node] = group
        for connection in self._streams_of(node):
            if connection.stream.node is not None and connection.stream.group is not self.groups[group]:
                connection.stream.move(self.groups[group])
                connection.judge.client.moves += 1
                self.pump(connection)

    # Connections

    def connect(self, node: str, *, forget: bool) -> None:
        self.disconnect(node)
        client = self.clients[node]
        client.start_over(forget=forget)
        if client.profile.aggregated:
            self.connections[node] = dict.fromkeys(TYPES, self._open(client, None))
        else:
            self.connections[node] = {type_url: self._open(client, type_url) for type_url in TYPES}

    def disconnect(self, node: str) -> None:
        for connection in self._streams_of(node):
            connection.stream.close("")
            connection.judge.close()
        self.connections[node] = {}
        for side in self.clients[node].sides.values():
            side.start_over()

    def _open(self, client: ModelClient, type_url: str | None) -> Connection:
        kind = DeltaStream if client.profile.delta else SotwStream
        stream: Any = kind(
            lambda node: self.groups[self.members[node.id]],
            type_url=type_url,
            observe=self.events.append,
            memory=self.memory,
        )
        past = lambda of, version: self.past.get((stream.group.name, of, version))  # noqa: E731
        return Connection(stream, Judge(client, past, self.bodies, self.now))

    def _streams_of(self, node: str) -> list[Connection]:
        own = self.connections[node]
        return list(own.values()) if len({*map(id, own.values())}) > 1 else list(own.values())[:1]

    def _connections(self) -> list[Connection]:
        return [connection for node in self.clients for connection in self._streams_of(node)]

    def _receive(self, node: str, type_url: str, request: Any) -> None:
        connection = self.connections[node][type_url]
        self.events.clear()
        expected = connection.judge.request(type_url, request)
        connection.stream.receive(request)
        side = self.clients[node].sides[type_url]
        if request.HasField("error_detail") and not expected and type_url not in FULL_SETS:
            side.moody = True  # the server does not read it (S27)
        answered = [event.kind for event in self.events if event.kind in ("acknowledged", "rejected")]
        assert answered == [expected] * bool(expected), "D29, S27: answers are told as they are"
        self.pump(connection)

    def pump(self, connection: Connection) -> None:
        """Let the server say what it has to say now."""
        snapshot = connection.stream.group.snapshot if connection.stream.group is not None else None
        if connection.asleep:
            return
        if snapshot is None:
            assert connection.stream.respond(self.now) is None, "S16: nothing is said before there is a snapshot"
            connection.blind = True
            return
        if connection.blind:
            connection.blind, connection.awake_since = False, self.now
        connection.judge.look(snapshot, self.now)
        for _ in range(20):
            response = connection.stream.respond(self.now)
            if response is None:
                break
            client = connection.judge.client
            message = client.response.FromString(response.payload)
            connection.judge.sent(message, snapshot, self.now)
            self._remember(connection, message)
            connection.inbox.append((message, client.sides[message.type_url].wildcard))
        else:
            raise AssertionError("the server loops")
        self._look(connection)

    def _remember(self, connection: Connection, message: Any) -> None:
        """A full set that holds something in place of what was refused has a version of its own, which may come back."""
        client, group, type_url = connection.judge.client, connection.stream.group, message.type_url
        ledger = connection.judge.ledgers[type_url]
        whole = type_url in FULL_SETS and not client.profile.delta and client.sides[type_url].wildcard
        if whole and ledger.barred and group.past(type_url, message.version_info) is not None:
            self.past.setdefault((group.name, type_url, message.version_info), dict(ledger.sent))

    def _look(self, connection: Connection) -> None:
        group = connection.stream.group
        if not connection.asleep and group is not None and group.snapshot is not None:
            connection.judge.look(group.snapshot, self.now)
            connection.judge.check(group.snapshot, self.now, connection.stream.next_try, connection.awake_since)

    def sleep(self, node: str, type_url: str) -> None:
        """The client stops or starts to read."""
        if (connection := self.connections[node].get(type_url)) is not None:
            connection.asleep = not connection.asleep
            connection.awake_since = self.now
            self.pump(connection)

    def tick(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.next_try) is not None and due <= until:
            self.now = max(self.now, due)
            for connection in self._connections():
                if (at := connection.stream.next_try) is not None and at <= self.now:
                    self.pump(connection)
        self.now = until
        for connection in self._connections():
            self._look(connection)

    @property
    def next_try(self) -> float | None:
        awake = [connection.stream for connection in self._connections() if not connection.asleep]
        return min((stream.next_try for stream in awake if stream.next_try is not None), default=None)

    def unsound(self, node: str, type_url: str) -> set[str]:
        """What a client should not ask for now: a response on its way may bring what is gone, which is never taken back.

        After a name or a wildcard was dropped and asked for again, nothing tells the two times apart.
        """
        connection, client = self.connections[node].get(type_url), self.clients[node]
        if connection is None or all(message.type_url != type_url for message, _ in connection.inbox):
            return set()
        if client.profile.delta:
            return {"*"}
        there = set(self.snapshot(self.members[node]).names(type_url))
        return {*NAMES[type_url]} - there if type_url in FULL_SETS else set()

    def take(self, node: str, refusal: Refusal | None) -> bool:
        """The client reads one response; returns whether there was one."""
        for connection in self._streams_of(node):
            if connection.inbox:
                message, whole = connection.inbox.popleft()
                client = self.clients[node]
                told = not any(later.type_url == message.type_url for later, _ in connection.inbox)
                # Which clusters the client built can only be told by a NACK of the latest response (S27).
                choosy = message.type_url != CLUSTER or client.profile.delta or told
                if refusal and not choosy:
                    refusal = refusal._replace(part=-1)
                client.take(message, refusal, whole=whole, choosy=choosy)
                if refusal and message.type_url == CLUSTER:
                    client.answer(CLUSTER)
                return True
        return False

    def dislike(self, node: str, what: Resource, dislike: Dislike) -> None:
        """From now on a client cannot use this. Of what came before, it can use all but the last."""
        client = self.clients[node]
        for key in [*client.dislikes][:-1]:
            del client.dislikes[key]
            client.sides[key[0]].moody = True  # what it could use now is kept from it until it changes
        client.dislikes[what.type_url, what.body] = dislike

    def start_again(self, node: str, type_url: str) -> None:
        """A SotW client that has answered everything loses a type, and asks for it anew (S30)."""
        connection, client = self.connections[node].get(type_url), self.clients[node]
        if isinstance(client, SotwClient) and connection is not None and not connection.inbox:
            side = client.sides[type_url]
            if side.requested and side.nonces and not side.answers:
                client.forget(type_url)

    # Rest

    def settle(self, node: str) -> None:
        """Everything is delivered and accepted, and every wait ends."""
        client = self.clients[node]
        for connection in self._streams_of(node):
            connection.asleep = False
            connection.awake_since = self.now
            self.pump(connection)
        for _ in range(100):
            while self.take(node, None):
                pass
            for side in client.sides.values():
                while side.answers:
                    client.answer(side.type_url)
            streams = [connection.stream for connection in self._streams_of(node)]
            if any(connection.inbox for connection in self._streams_of(node)):
                continue
            if (due := min((s.next_try for s in streams if s.next_try is not None), default=None)) is None:
                return
            self.tick(due - self.now)
        raise AssertionError("the server never comes to rest")

    def check_rest(self, node: str) -> None:
        """The client holds what it should, nothing more is sent, and nothing more is kept."""
        snapshot = self.groups[self.members[node]].snapshot
        if snapshot is None:
            return
        client = self.clients[node]
        for connection in self._streams_of(node):
            if connection.stream.group is None:
                continue
            connection.judge.at_rest(snapshot)
            for seconds in (0, 0.05, 1, 60, 86_400):
                assert connection.stream.respond(self.now + seconds) is None, "something is sent long after"
                assert connection.stream.next_try is None
            for type_url, watch in connection.stream._watches.items():
                check_kept(watch, rejections=connection.judge.ledgers[type_url].rejections)
            if not any(ledger.rejections for ledger in connection.judge.ledgers.values()):
                model_awaited.check_rest(connection.stream)
        for connection in self._streams_of(node):
            for type_url, ledger in connection.judge.ledgers.items():
                if (side := client.sides[type_url]).requested:
                    refused = connection.stream._watches[type_url].quarantine.refused
                    check_held(client, side, snapshot, ledger, refused)
        if client.profile.aggregated:
            check_warm(client, snapshot)


def check_held(client: ModelClient, side: Any, snapshot: Snapshot, ledger: Any, kept_back: Container[str]) -> None:
    kind = side.type_url.rpartition(".")[2]
    desired = {r.name: r.body for r in snapshot.resources(side.type_url) if side.wants(r.name)}
    # A full set cannot be tried in parts, nor without the culprit where what the client holds in its place is not known.
    is_held = not client.profile.delta and side.type_url in FULL_SETS
    disliked = {name for name, body in desired.items() if (side.type_url, body) in client.dislikes}
    is_held = is_held and any(name not in kept_back for name in disliked)
    for name, body in desired.items():
        held = side.held.get(name)
        refused = name in disliked or ((side.moody or is_held) and name in side.refused and side.refused[name] == body)
        refused |= side.moody and name in ledger.barred
        assert held == body or refused or name in side.lost, (
            f"{kind} {name!r}: the client holds {'an old one' if held else 'none'}"
        )
    if client.profile.delta or side.type_url in FULL_SETS:
        for name in side.held.keys() - desired.keys() - side.lost:
            assert name in side.refused and side.refused[name] is None, f"{kind} {name!r} is gone, and held"  # noqa: PT018


def check_warm(client: ModelClient, snapshot: Snapshot) -> None:
    """S57, D13, B3: every cluster that was built anew got its endpoints after that."""
    assigned = client.sides[ENDPOINTS]
    for name in client.warming & client.sides[CLUSTER].held.keys():
        needed = endpoints_of(client.sides[CLUSTER].held[name])
        assert needed is not None
        there = snapshot.get(ENDPOINTS, needed)
        if there is not None and assigned.wants(needed):
            assert assigned.refused.get(needed) == there.body, f"cluster {name!r} waits for its endpoints for ever"


def check_kept(watch: Any, *, rejections: bool) -> None:
    """P20: a watch at rest keeps its names, what it must know of rejections, and nothing more; without names, nothing."""
    owners = (watch, watch.unanswered, watch.quarantine, getattr(watch, "_last_good", watch))
    kept = {key: value for owner in owners for key, value in vars(owner).items()}
    sizes = {key: len(value) for key, value in kept.items() if isinstance(value, set | dict | list | deque) and value}
    most = len(NAMES[watch.type_url]) + 3 if watch.wildcard or watch.names else 0
    for key, size in sizes.items():
        assert size <= (most if rejections or key == "names" else 0), f"a watch at rest keeps {key}: {kept[key]}"
