"""The discovery server: who is served what, by which address, from when until when.

The protocol itself is in the state machines (`sotw`, `delta`, `polling`), its input and output in `streaming`.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from xds_server.xds.arguments import require, require_function, split_address
from xds_server.xds.awaited import Tell
from xds_server.xds.clients import Client, Clients
from xds_server.xds.events import Event, Observer
from xds_server.xds.group import Group
from xds_server.xds.limits import Limits, grpc_options
from xds_server.xds.memory import Memory
from xds_server.xds.node import InvalidNodeError, Node
from xds_server.xds.peer import Authorize, Names, certificate_names
from xds_server.xds.polling import Answer, NotReadyError, poll
from xds_server.xds.services import Health, add_discovery, add_reflection
from xds_server.xds.snapshot import Snapshot, Touched
from xds_server.xds.stream import InvalidRequestError, RefusedError, Stream
from xds_server.xds.streaming import History, Streaming, ending, parse, peer_address
from xds_server.xds.tracking import Tracking

log: Final = logging.getLogger(__name__)

POLL_WAIT: Final = 4
"""Seconds that a poller is held while there is nothing to serve: it would come back only after its whole interval."""


class AddressInUseError(OSError):
    """The server cannot listen where it was told to."""


class DiscoveryServer:
    """Serves snapshots to xDS clients: state-of-the-world and incremental, aggregated, per type and polled.

    `group_of` names the group that a node belongs to; every group has a snapshot of its own. Clients of a group without
    a snapshot are held until there is one: an empty answer would take everything from them (S16).
    """

    def __init__(
        self,
        group_of: Callable[[Node], str] = lambda node: "",
        *,
        authorize: Authorize | None = None,
        observe: Observer | None = None,
        identifier: str = "",
        limits: Limits | None = None,
        history: History | None = None,
    ) -> None:
        """`authorize`: who may be which node; default: everyone is who it says it is. `observe`: see `subscribe`.
        `identifier`: name of this server, which its clients show (Envoy: the stat `control_plane.identifier`, S12).

        `history`: called with a group's name and a resource that a client refuses, gives the version before that. It is
        asked where a full set needs one in its place and this process does not know which one the client accepted last,
        after a restart for example. The client's next request waits for its answer. None, the default, holds such a set as
        it is.

        Raises TypeError for anything of another type.
        """
        require_function(group_of, "group_of")
        if authorize is not None:
            require_function(authorize, "authorize")
        require(identifier, str, "the identifier")
        if limits is not None:
            require(limits, Limits, "limits")
        if history is not None:
            require_function(history, "history", is_awaited=True)
        self._history = history
        self._name_of = group_of
        self._authorize = authorize
        self._identifier = identifier
        self._limits = limits or Limits()
        self._clients = Clients()
        self._observers: dict[object, Observer] = {self._clients: self._clients}
        if observe is not None:
            self.subscribe(observe)
        self._groups: dict[str, Group] = {}
        self._members: dict[str, dict[Stream[Any], None]] = {}
        """The streams of each group that has any, so that a change costs its own group's alone."""
        self._first_snapshots: dict[str, asyncio.Event] = {}
        """What pollers of groups that have no snapshot yet wait for."""
        self._tracking: Tracking | None = None
        self._memory = Memory()
        self._streaming = Streaming(self._limits, self._history)
        self._server: grpc.aio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where it runs, while it does."""
        self._health: Health | None = None
        self._telling: asyncio.Task[None] | None = None

    # Content

    def set_snapshot(self, snapshot: Snapshot, group: str = "") -> None:
        """Serve `snapshot` to a group from now on. Costs the changed names times the group's streams at most; nothing for
        other groups. Raises TypeError for what is no snapshot, and RuntimeError outside of the event loop that the server
        runs on; then nothing has changed.
        """
        require(snapshot, Snapshot, "what is served")
        require(group, str, "the name of a group")
        if self._loop is not None and self._loop is not _running_loop():
            raise RuntimeError("set_snapshot is for the event loop that runs the server: call it from there")
        here = self._group(group)
        old = here.snapshot
        if snapshot is old:
            return
        here.publish(snapshot)
        members = self._members.get(group, {})
        touched = here.touched(old, snapshot) if members and self._tracking is not None else None
        for stream in members:
            if stream.advance(old, snapshot):
                self._streaming.wake(stream)
                if self._tracking is not None:
                    self._tracking.concern(stream, touched)
        if (waiting := self._first_snapshots.pop(group, None)) is not None:
            waiting.set()
        if self._loop is not None and self._health is not None and self._telling is None:
            self._telling = self._loop.create_task(self._health.set(serving=True))

    def snapshot(self, group: str = "") -> Snapshot | None:
        """What a group is served; None before the first `set_snapshot`."""
        known = self._groups.get(group)
        return known.snapshot if known is not None else None

    def regroup(self) -> None:
        """Ask `group_of` again for every connected node, after its answer may have changed."""
        for stream in [stream for members in self._members.values() for stream in members]:
            if stream.node is not None and stream.group is not (group := self._group_of(stream.node)):
                self._leave(stream)
                self._members.setdefault(group.name, {})[stream] = None
                stream.move(group)
                self._streaming.wake(stream)
                if self._tracking is not None:
                    self._tracking.concern(stream, None)

    @contextmanager
    def tracking(self, tell: Tell) -> Iterator[Tracking]:
        """Follow what is changed in the `with` block (`set_snapshot`, `regroup`) to each stream that is subscribed to it.

        `tell` is called once for each, with an `Outcome`, when its client has acknowledged all of it, or a newer snapshot that
        took its place, has rejected some of it, or has left. Pollers have no stream and are not waited for. `end` what the
        block gives you to stop. Other changes cost nothing more. Raises RuntimeError inside of another such block.
        """
        require_function(tell, "who is told")
        if self._tracking is not None:
            raise RuntimeError("another change is being tracked: one at a time")
        self._tracking = tracking = Tracking(tell)
        try:
            yield tracking
        finally:
            self._tracking = None

    def subscribers(self, group: str = "", touched: Touched | None = None) -> tuple[Node, ...]:
        """Whom a change of a group's snapshot would concern, one for each stream. `touched`: names by type URL that would
        change; None for any."""
        return tuple(
            stream.node
            for stream in self._members.get(group, ())
            if stream.node is not None and (touched is None or stream.touched_by(touched))
        )

    def drop_groups(self, keep: Container[str] = ()) -> None:
        """Forget the groups that have no stream, with their snapshots, except those in `keep`."""
        self._groups = {name: group for name, group in self._groups.items() if name in self._members or name in keep}
        self._first_snapshots = {name: event for name, event in self._first_snapshots.items() if name in self._groups}

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups that were ever asked for or given a snapshot."""
        return tuple(self._groups)

    @property
    def ready(self) -> bool:
        """Whether any group has a snapshot, so that there is something to serve."""
        return any(group.snapshot is not None for group in self._groups.values())

    @property
    def serving(self) -> bool:
        """Whether it listens and there is something to serve; what health checkers are told."""
        return self._server is not None and self.ready

    @property
    def clients(self) -> tuple[Client, ...]:
        """Who is connected, and what each acknowledged and rejected. Kept up to date; a client that left is not in it."""
        return tuple(self._clients.by_stream.values())

    @property
    def open_streams(self) -> int:
        """How many streams are open, of clients that have not said yet who they are, too."""
        return len(self._streaming)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Have `observer` called with every `Event`; call what is returned to end that."""
        require_function(observer, "an observer")
        key = object()
        self._observers[key] = observer

        def end() -> None:
            self._observers.pop(key, None)

        return end

    def _group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(name))

    def _group_of(self, node: Node) -> Group:
        name = self._name_of(node)
        require(name, str, f"group_of's answer for {node.id!r}")
        return self._group(name)

    def _observe(self, event: Event) -> None:
        for observer in tuple(self._observers.values()):
            try:
                observer(event)
            except Exception:  # who watches must not hurt who is served
                log.exception("an observer failed on %r", event.kind)

    # Service

    async def start(
        self,
        address: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
        *,
        shares_port: bool = False,
    ) -> int:
        """Listen on `address` (port 0: any free one) and return the port. `credentials`: TLS; default: plain text.
        `shares_port`: with other processes of this user that say so as well; the kernel hands each connection to one of them
        (SO_REUSEPORT).

        Raises ValueError for what is no host:port (an IPv6 address in brackets) and for a host without an address,
        AddressInUseError, and RuntimeError when it is listening already. Besides discovery there are gRPC's health
        checking, which says SERVING once there is a snapshot, and reflection.
        """
        if self._server is not None:
            raise RuntimeError("the server is listening already")
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        try:
            await loop.getaddrinfo(host, port)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{address!r} is no host:port of this machine: {host} has no address ({error})") from None
        self._streaming = Streaming(self._limits, self._history)
        server = grpc.aio.server(options=grpc_options(self._limits, shares_port=shares_port))
        add_discovery(server, self._stream, self._fetch)
        health = Health(server)
        add_reflection(server)
        try:
            port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            or_tls = ", or gRPC does not take the certificate" if credentials else ""
            raise AddressInUseError(f"cannot listen on {address}: it is in use or not of this machine{or_tls}")
        await health.set(serving=self.ready)
        await server.start()
        self._server, self._health, self._loop = server, health, loop
        if self.ready:
            await health.set(serving=True)
        return port

    async def stop(self, grace: float = 1.0) -> None:
        """Tell health checkers, take no new streams, end those there are, and close the port.

        The streams end spread over `Limits.drain`, and in order: clients take that for a reason to come back, to another
        replica where there is one. `grace`: seconds that calls may take to end after that.
        """
        server, self._server, self._loop = self._server, None, None
        if server is None:
            return
        if self._health is not None:
            health, self._health = self._health, None
            await health.set(serving=False)
        await server.stop(self._streaming.stop() + grace)

    async def _stream(self, variant: type[Stream[Any]], type_url: str | None, context: Any) -> None:
        names = certificate_names(context) if self._authorize is not None else None
        stream = variant(
            lambda node: self._join(stream, node, names),
            type_url=type_url,
            observe=self._observe,
            identifier=self._identifier,
            limits=self._limits,
            memory=self._memory,
            peer=peer_address(context.peer()),
        )
        try:
            await self._streaming.serve(stream, context)
        finally:
            self._leave(stream)

    def _admit(self, node: Node, names: Names | None, stream: int = 0) -> None:
        if self._authorize is not None and (reason := self._authorize(node, names)) is not None:
            self._observe(Event("refused", stream, node, detail=reason))
            raise RefusedError(reason)

    def _join(self, stream: Stream[Any], node: Node, names: Names | None) -> Group:
        self._admit(node, names, stream.number)
        group = self._group_of(node)
        self._members.setdefault(group.name, {})[stream] = None
        return group

    def _leave(self, stream: Stream[Any]) -> None:
        if stream.group is not None and (members := self._members.get(stream.group.name)) is not None:
            members.pop(stream, None)
            if not members:
                del self._members[stream.group.name]

    async def poll(
        self, type_url: str, request: Any, names: Names | None = None, *, again: bool = False
    ) -> Answer | None:
        """Answer a `DiscoveryRequest` outside of any stream; None when the client holds just that.

        `names`: those in the client's certificate. `again`: answer also when it holds just that. Raises InvalidRequestError,
        RefusedError, and NotReadyError when there is nothing to serve for a few seconds, or nothing was ever written and the
        client holds something (see `Snapshot.unwritten`).
        """
        if request.type_url not in ("", type_url):
            raise InvalidRequestError(f"this is for {type_url}, the request is for {request.type_url[:200]}")
        try:
            node = Node.of(request.node, "rest")
        except InvalidNodeError as error:
            raise InvalidRequestError(str(error)) from None
        self._admit(node, names)
        group = self._group_of(node)
        if group.snapshot is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_WAIT):
                    await self._first_snapshots.setdefault(group.name, asyncio.Event()).wait()
            group = self._groups.get(group.name, group)  # it may have been dropped and made again meanwhile
        if group.snapshot is None:
            raise NotReadyError("nothing is served yet: try again")
        if group.snapshot.is_unwritten and request.version_info:
            raise NotReadyError("nothing was ever written here: keep what you have, and try again")
        if again:
            request.version_info = ""
        return poll(group.snapshot, type_url, request)

    async def _fetch(self, type_url: str, raw: bytes, context: Any) -> bytes:
        async def answer() -> bytes:
            request = parse(discovery_pb2.DiscoveryRequest, raw)
            names = certificate_names(context) if self._authorize is not None else None
            # A unary call has no way to say that nothing differs.
            answer = await self.poll(type_url, request, names, again=True)
            return (answer or Answer(type_url, "", ())).encode(self._identifier)

        return await ending(answer(), context)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
