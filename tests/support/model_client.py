"""A model of an xDS client: what it holds, what it asks for, how it answers. Without I/O, for both variants of the protocol.

It does what real clients do, and all that the protocol allows: it applies any part of a response that it rejects (S23) and does
not tell (D20), names a version in a NACK (S18), leaves an error in a later request (S19), answers late or never (S24).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.runtime.v3 import rtds_pb2

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME

TYPES = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME)
FULL_SETS = (CLUSTER, LISTENER)
"""In SotW, absent means deleted (S42); a first request without names means everything (S48, D4)."""
_KINDS: dict[str, Any] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTES: route_pb2.RouteConfiguration,
    RUNTIME: rtds_pb2.Runtime,
}


@cache
def name_in(type_url: str, body: bytes) -> str:
    message = _KINDS[type_url].FromString(body)
    return str(message.cluster_name if type_url == ENDPOINTS else message.name)


@cache
def endpoints_of(body: bytes) -> str | None:
    """The name of the assignment that a cluster needs (S53)."""
    message = cluster_pb2.Cluster.FromString(body)
    return str(message.eds_cluster_config.service_name or message.name) if message.type == message.EDS else None


@cache
def clusters_of(body: bytes) -> frozenset[str]:
    """The clusters that a route configuration sends traffic to."""
    message = route_pb2.RouteConfiguration.FromString(body)
    return frozenset(route.route.cluster for host in message.virtual_hosts for route in host.routes)


class Profile(NamedTuple):
    """What kind of client it is."""

    delta: bool
    aggregated: bool
    envoy: bool
    """Asks for the endpoints of its clusters and the routes of its listeners (here of the same names), and for no others."""


class Refusal(NamedTuple):
    """How a response is rejected."""

    part: int
    """The changes whose bit is set are applied all the same (S23)."""
    names_version: bool
    """SotW: the NACK names the new version, as gRPC does when a part was good (S18)."""
    words: int = 0
    """How many of the changes that are not applied the error names."""


class Dislike(NamedTuple):
    """How a client meets what it can never use: it rejects each response that changes something into it."""

    names_it: bool
    """In its error."""
    takes_others: bool
    """It applies what else is in such a response (S23)."""


class Answer(NamedTuple):
    nonce: str
    version: str
    error: str
    """Empty: an ACK."""


@dataclass
class Side:
    """One type: what the client holds of it, and what it asked for."""

    type_url: str
    held: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Delta: what `held` came with."""
    untold: set[str] = field(default_factory=set)
    """In `held`, or of a full set no more, because of a response that was rejected, so that a new stream is not told (D20)."""
    lost: set[str] = field(default_factory=set)
    """Of `untold`, what no server can know of: the one that could has restarted since."""
    unsettled: set[str] = field(default_factory=set)
    """What this server sent, and was never told to be accepted: the client may hold it, and not tell a new stream."""
    refused: dict[str, bytes | None] = field(default_factory=dict)
    """What was offered and not taken: a body, or None for a removal."""
    moody: bool = False
    """It rejected something for no reason that lasts: what that leaves behind is not known."""
    accepted: tuple[str, bool] = ("", False)
    """SotW: version last accepted, and whether as a whole set."""
    listed: set[str] = field(default_factory=set)
    """Names asked for, with ``*``; kept from stream to stream."""
    legacy: bool = True
    """Nothing was ever named: where that means everything, it does."""

    # Of the current stream
    requested: bool = False
    named: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    nonces: list[str] = field(default_factory=list)
    """Of the responses that were taken."""
    answers: deque[Answer] = field(default_factory=deque)
    """Not given yet."""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def start_over(self) -> None:
        """A new stream."""
        self.requested = self.named = self.wildcard = self.moody = False
        self.names = set()
        self.nonces.clear()
        self.answers.clear()

    def forget(self, names: Iterable[str]) -> None:
        for name in list(names):
            for kept in (self.held, self.versions, self.refused):
                kept.pop(name, None)
            self.untold.discard(name)
            self.lost.discard(name)

    @property
    def means_nothing(self) -> bool:
        """A first request would name nothing, where that would mean everything."""
        return self.type_url in FULL_SETS and not self.listed and not self.legacy


Send = Callable[[str, Any], None]
"""Carries a request of a type to the server."""


class ModelClient:
    """What both variants share. `send` is called with each request."""

    request: Any
    response: Any

    def __init__(self, profile: Profile, node: str, send: Send) -> None:
        self.profile, self.node, self._send = profile, node, send
        self.sides = {type_url: Side(type_url) for type_url in TYPES}
        self.warming: set[str] = set()
        """Clusters that were built anew and have not been given their endpoints since."""
        self.dislikes: dict[tuple[str, bytes], Dislike] = {}
        """By type and body."""
        self.moves = 0
        """How often it was moved to another group."""

    def start_over(self, *, forget: bool) -> None:
        """All streams are new. `forget`: and so is the client."""
        for side in self.sides.values():
            side.start_over()
            if forget:
                side.forget(list(side.held))
                side.refused.clear()
                side.accepted = ("", False)
        if forget:
            self.warming.clear()

    def _out(self, type_url: str, **fields: Any) -> None:
        request = self.request(type_url=type_url, **fields)
        request.node.id = self.node
        if self.profile.envoy:
            request.node.user_agent_name, request.node.user_agent_version = "envoy", "1.40.0"
        self.sides[type_url].requested = True
        self._send(type_url, request)

    def ask(self, type_url: str, add: set[str], drop: set[str], *, stale: bool = False, claims: int = 0) -> None:
        """Change a subscription, or ask for a type for the first time on this stream.

        `stale`: with the nonce of an earlier response (S28). `claims`: how wrong `initial_resource_versions` are.
        """
        raise NotImplementedError

    def answer(self, type_url: str, *, leftover: bool = False) -> None:
        """Give one answer that is due. `leftover`: with the error of an earlier response (S19)."""
        raise NotImplementedError

    def take(self, message: Any, refusal: Refusal | None = None, *, whole: bool = False, choosy: bool = True) -> None:
        """Apply a response, or a part of it. `whole`: the server sent it for a wildcard. `choosy`: or nothing of it."""
        side = self.sides[message.type_url]
        changes = self._changes(side, message)
        side.moody |= refusal is not None
        refusal = self._feel(side, changes, refusal, choosy)
        for index, (name, body, version) in enumerate(changes):
            if refusal and not refusal.part >> index & 1:
                side.refused[name] = body
                continue
            side.refused.pop(name, None)
            self._apply(side, name, body)
            if body is not None:
                side.versions[name] = version
                side.untold = side.untold | {name} if refusal else side.untold - {name}
                side.lost.discard(name)
            elif refusal and side.type_url in FULL_SETS and not self.profile.delta:
                side.untold.add(name)
        self._accept(side, message, refusal, whole, self._words(side, changes, refusal))
        side.nonces.append(message.nonce)
        if self.profile.envoy:
            self._follow(message.type_url, changed=bool(changes))

    def _feel(
        self, side: Side, changes: list[tuple[str, bytes | None, str]], refusal: Refusal | None, choosy: bool
    ) -> Refusal | None:
        """Whatever else happens to a response, what the client dislikes is not applied."""
        part, names_it = refusal.part if refusal else -1, False
        for index, (name, body, _) in enumerate(changes):
            dislike = self.dislikes.get((side.type_url, body)) if body is not None else None
            if dislike is not None and side.held.get(name) != body:
                refusal = refusal or Refusal(-1, False)
                part = part & ~(1 << index) if dislike.takes_others or not choosy else 0
                names_it |= dislike.names_it
        if refusal is None:
            return None
        return refusal._replace(part=part, words=max(refusal.words, 99 if names_it else 0))

    def _words(self, side: Side, changes: list[tuple[str, bytes | None, str]], refusal: Refusal | None) -> str:
        if refusal is None:
            return ""
        left = [
            (name, body) for i, (name, body, _) in enumerate(changes) if not refusal.part >> i & 1 and body is not None
        ]
        disliked = [(name, body) for name, body in left if (side.type_url, body) in self.dislikes]
        named = dict((disliked or left)[: refusal.words])
        return "no good" + "".join(f", '{name}' is wrong" for name in named)

    def _apply(self, side: Side, name: str, body: bytes | None) -> None:
        if body is None:
            side.forget([name])
        if side.type_url == CLUSTER:
            if body is None:
                self.warming.discard(name)
            elif body != side.held.get(name):
                self.warming = self.warming | {name} if endpoints_of(body) else self.warming - {name}
        if side.type_url == ENDPOINTS and body is not None:
            clusters = self.sides[CLUSTER].held
            self.warming = {other for other in self.warming & clusters.keys() if endpoints_of(clusters[other]) != name}
        if body is not None:
            side.held[name] = body

    def _follow(self, type_url: str, *, changed: bool) -> None:
        if type_url == CLUSTER:
            wanted = {name for body in self.sides[CLUSTER].held.values() if (name := endpoints_of(body))}
            self._want(ENDPOINTS, wanted, again=changed)
        elif type_url == LISTENER:
            self._want(ROUTES, set(self.sides[LISTENER].held), again=False)

    def _want(self, type_url: str, names: set[str], *, again: bool) -> None:
        """`again`: Envoy repeats its SotW request when a cluster was rebuilt (S58)."""
        side = self.sides[type_url]
        if names != side.listed or (again and side.requested and not self.profile.delta):
            self.ask(type_url, names - side.listed, side.listed - names)

    def _changes(self, side: Side, message: Any) -> list[tuple[str, bytes | None, str]]:
        raise NotImplementedError

    def _accept(self, side: Side, message: Any, refusal: Refusal | None, whole: bool, words: str) -> None:
        raise NotImplementedError
