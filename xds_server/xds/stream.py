"""One stream of one client: several watches, one order. No I/O: requests go in, responses come out, time is given.

Here lives the make-before-break order between types (see `ordering`); what a request of one type means never does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any, ClassVar, Generic, TypeVar

from xds_server.xds import turns
from xds_server.xds.awaited import Awaited, Awaiting, Tell
from xds_server.xds.events import Event, Kind, Observer
from xds_server.xds.group import Group
from xds_server.xds.limits import GRPC_MESSAGE_BYTES, Limits
from xds_server.xds.memory import EVERYTHING, Memory
from xds_server.xds.node import InvalidNodeError, Node, Service, Variant
from xds_server.xds.ordering import FULL_SETS, break_order, make_order
from xds_server.xds.resource import CLUSTER, LISTENER, Resource, length_delimited
from xds_server.xds.snapshot import Snapshot, Touched
from xds_server.xds.unanswered import Response
from xds_server.xds.watch import Watch

_stream_numbers = count(1)
W = TypeVar("W", bound=Watch)


class InvalidRequestError(Exception):
    """The client broke the protocol; its stream must end with INVALID_ARGUMENT and this text."""


class TooMuchError(Exception):
    """The client asks for more than one stream may have; it must end with RESOURCE_EXHAUSTED and this text."""


class RefusedError(Exception):
    """The client may not be the node that it says it is; its stream must end with PERMISSION_DENIED and this text."""


class Stream(ABC, Generic[W]):
    """The protocol's state for one stream. Call `receive` for each request and `respond` until it returns None."""

    request: ClassVar[type[Any]]
    """Protobuf class of this variant's requests."""
    variant: ClassVar[Variant]
    control_plane_field: ClassVar[int]
    """Number of the field `control_plane` in this variant's responses."""

    def __init__(
        self,
        group_of: Callable[[Node], Group],
        *,
        type_url: str | None = None,
        observe: Observer | None = None,
        identifier: str = "",
        limits: Limits | None = None,
        memory: Memory | None = None,
        peer: str = "",
    ) -> None:
        """`group_of` decides what a node is served. `type_url`: the type of a per-type service; None on ADS.

        `identifier`: who answers, in every response (`control_plane.identifier`, S12).
        `memory`: of the server, shared. `peer`: the address at the other end.
        """
        self.number = next(_stream_numbers)
        self.node: Node | None = None
        self.group: Group | None = None
        self._group_of = group_of
        self._type_url = type_url
        self._observe = observe
        self._limits = limits or Limits()
        self._memory = memory if memory is not None else Memory()  # an empty one is false
        self._peer = peer
        self._awaiting = Awaiting(self.number)
        self._rescue_at: float | None = None
        # The same bytes at the end of every response.
        control_plane = length_delimited(1, identifier.encode())
        self._trailer = length_delimited(self.control_plane_field, control_plane) if identifier else b""
        self._watches: dict[str, W] = {}
        self._nonces = count(1)
        self._next_try: float | None = None

    # Requests

    def receive(self, request: Any) -> None:
        """Take in a request. Raises InvalidRequestError or TooMuchError when the stream must end (S2, S3, S6, P3), and
        what `group_of` raises."""
        if (asked := self._names_in(request)) > self._limits.max_names:
            raise TooMuchError(
                f"a request names {asked} resources: {self._limits.max_names} is the most, ask for fewer"
            )
        if self.node is None:
            try:
                node = Node.of(request.node, self._service, self.variant)
            except InvalidNodeError as error:
                raise InvalidRequestError(str(error)) from None
            self.group = self._group_of(node)
            self.node = node
            self._tell("opened", peer=self._peer)
        type_url: str = request.type_url or self._type_url or ""
        if not type_url:
            raise InvalidRequestError("a request on an aggregated stream needs a type_url")
        if self._type_url is not None and type_url != self._type_url:
            raise InvalidRequestError(f"this service is for {self._type_url}, the request is for {type_url[:200]}")
        watch = self._watches.get(type_url)
        if watch is not None and not watch.requested and not request.response_nonce:
            # It was sent unasked, and dropped by a client that asks only now (S71), unless it is still on its way.
            self._unsettle(watch, watch.unanswered.names())
            del self._watches[type_url]
            watch = None
        watch = watch or self._open(type_url)
        self._read(watch, request)
        if sum(len(watch.names) for watch in self._watches.values()) > self._limits.max_names:
            raise TooMuchError(f"a stream may ask for {self._limits.max_names} resource names at most: ask for fewer")

    def _open(self, type_url: str) -> W:
        if len(self._watches) >= self._limits.max_types:
            raise TooMuchError(f"a stream may ask for {self._limits.max_types} types at most: ask for fewer")
        assert self.node is not None
        watch = self._watch(type_url)
        watch.trailer = self._trailer
        watch.leaves_errors = self.node.is_envoy
        watch.unsettled = partial(self._memory.recall, self.node.id, type_url)
        if self.node.is_grpc:
            watch.message_bytes = GRPC_MESSAGE_BYTES
        self._watches[type_url] = watch
        self._watches = dict(sorted(self._watches.items(), key=lambda item: make_order(item[0])))
        return watch

    @property
    def _service(self) -> Service:
        return "aggregated" if self._type_url is None else "per-type"

    @abstractmethod
    def _watch(self, type_url: str) -> W: ...

    @abstractmethod
    def _names_in(self, request: Any) -> int: ...

    @abstractmethod
    def _read(self, watch: W, request: Any) -> None: ...

    def _answered(self, watch: W, nonce: str, detail: str | None, version: str = "") -> None:
        """`version`: what the client says that it holds now."""
        if (answer := watch.answer(nonce, detail, version)) is None:
            return
        sent = answer.response
        assert self.node is not None
        if detail is None:
            settled = watch.unsettled() if self._is_full_set(watch) else (*sent.names, *sent.removed, EVERYTHING)
            self._memory.settle(self.node.id, watch.type_url, settled)
            self._tell("acknowledged", sent)
            self._awaiting.accepted(sent, self.node, self._watches)
            self._tell_refused(watch)
            return
        self._unsettle(watch, sent.names)
        culprits, applied = answer.culprits, version == sent.version
        self._tell("rejected", sent, detail=detail, culprits=culprits, applied=applied)
        if applied and self.node.is_envoy:  # the error is of an earlier response (S19)
            self._awaiting.accepted(sent, self.node, self._watches)
        else:
            culprits = culprits or tuple(sorted(watch.quarantine.refused.keys() & set(sent.names)))
            is_clear = culprits or watch.quarantine.looks_into(sent.names)
            blamed = culprits if is_clear else (*sent.names, *sent.removed)
            self._awaiting.rejected(sent, self.node, detail, culprits, blamed)
        self._tell_refused(watch)

    def sought(self) -> list[Resource]:
        """Refused resources of which the version before is not known here and would help; each is told once."""
        return [resource for watch in self._watches.values() for resource in watch.sought()]

    def found(self, refused: Resource, older: Resource) -> None:
        """What one of `sought` was before."""
        watch = self._watches[refused.type_url]
        if watch.found(refused, older):
            self._tell_refused(watch)

    def _is_full_set(self, watch: W) -> bool:
        return self.variant == "sotw" and watch.type_url in FULL_SETS

    def _unsettle(self, watch: W, names: Iterable[str]) -> None:
        """The client may have applied any part of a response with `names`, and will not tell on its next stream (D20, S23)."""
        if self.node is not None and watch.wildcard:
            # Of a full set, it may also have dropped any part of what it held.
            self._memory.note(self.node.id, watch.type_url, (EVERYTHING,) if self._is_full_set(watch) else names)

    # Responses

    def advance(self, old: Snapshot | None, new: Snapshot) -> bool:
        """The group's snapshot went from `old` to `new`: whether this stream may have something to say about it.

        A watch that the change does not concern just moves on, so that a change costs only those that it touches.
        """
        concerned = False
        for watch in self._watches.values():
            direct = old is not None and new.base == old.serial
            touched = new.touched.get(watch.type_url, frozenset())
            if not direct or watch.cursor is not old or watch.touched_by(touched):
                concerned = True
            else:
                watch.cursor = new
        return concerned

    def touched_by(self, touched: Touched) -> bool:
        """Whether the client is subscribed to any of these names."""
        return any(watch.touched_by(touched.get(type_url, frozenset())) for type_url, watch in self._watches.items())

    def expect(self, touched: Touched | None, tell: Tell) -> Awaited | None:
        """Have `tell` called once, when it is known what came of a change that `advance` or `move` was just told of.

        `touched`: the names by type that it changed; None for any. Returns None when that does not concern this stream.
        """
        return self._awaiting.expect(touched, self._watches, tell)

    def forget(self, awaited: Awaited) -> None:
        """Undo `expect`."""
        self._awaiting.forget(awaited)

    def move(self, group: Group) -> None:
        """Serve this stream from another group from now on."""
        self.group = group

    def respond(self, now: float) -> Response | None:
        """The next response to send, or None; `next_try` then says when to ask again without a new event.

        `now` is in seconds of any monotonic clock, always the same one.
        """
        self._next_try = None
        group = self.group
        if group is None or group.snapshot is None:
            return None
        for watch in self._watches.values():
            watch.follow(group)
            self._tell_refused(watch)
            if watch.resumed:
                watch.resumed = False
                self._tell("resumed", type_url=watch.type_url, version=group.snapshot.version(watch.type_url))
            if not watch.gone:
                watch.gone_since = None
            elif watch.gone_since is None:
                watch.gone_since = now
        response = self._make(group, now) or self._break(group, now) or self._rescue(group, now)
        if response is None:
            self._awaiting.nothing_more(self.node, self._watches)
        return response

    @property
    def next_try(self) -> float | None:
        """When `respond` has more to say if nothing happens before; None for never."""
        return self._next_try

    @property
    def has_new_watch(self) -> bool:
        """Whether there is something to say of a type for the first time, which may be much."""
        for watch in self._watches.values():
            if watch.cursor is None:
                return self.group is not None and self.group.snapshot is not None
        return False

    def _make(self, group: Group, now: float) -> Response | None:
        assert group.snapshot is not None
        for watch in self._watches.values():
            if not watch.must_make or watch.is_held(group.snapshot):
                continue
            if self._may_go(max(watch.paced_until(), turns.clusters_ready(watch, self._watches)), now):
                # Nothing refers to listeners: one that takes another's place needs it gone in the same response.
                final = watch.type_url == LISTENER or (not watch.inherited and not turns.users_busy(self._watches))
                response = watch.make(group, str(next(self._nonces)), final=final)
                if response is not None:
                    return self._sent(watch, response, now)
        return None

    def _break(self, group: Group, now: float) -> Response | None:
        # What waits to be made goes before what it may take the place of.
        assert group.snapshot is not None
        watches = [watch for watch in self._watches.values() if not watch.is_held(group.snapshot)]
        gone = [watch for watch in watches if watch.gone and not watch.must_make]
        for watch in sorted(gone, key=lambda watch: break_order(watch.type_url)):
            if not self._may_go(max(watch.paced_until(), turns.users_moved_on(watch, self._watches)), now):
                return None
            return self._sent(watch, watch.retire(group, str(next(self._nonces))), now)
        return None

    def _rescue(self, group: Group, now: float) -> Response | None:
        """An Envoy that came back while it was warming may never ask for clusters again; sent unasked, they heal it (S71)."""
        if self._type_url or not self._watches or CLUSTER in self._watches or not self._limits.rescue_after:
            return None
        if self.node is None or not self.node.is_envoy:
            return None
        if group.snapshot is None or group.snapshot.is_unwritten:  # which would take all that it holds
            return None
        if self._rescue_at is None:
            self._rescue_at = now + self._limits.rescue_after
        if len(self._watches) >= self._limits.max_types or not self._may_go(self._rescue_at, now):
            return None
        watch = self._open(CLUSTER)
        watch.rescue(self._limits.rescue_after)
        watch.follow(group)
        return self._make(group, now)

    def _may_go(self, at: float, now: float) -> bool:
        if at <= now:
            return True
        self._next_try = at if self._next_try is None else min(at, self._next_try)
        return False

    def _sent(self, watch: W, response: Response, now: float) -> Response:
        watch.sent(response, now)
        self._owe_references(watch, response)
        self._tell("sent", response, size=len(response.payload))
        self._awaiting.sent(watch, response)
        if watch.message_bytes is not None and len(response.payload) > watch.message_bytes:
            detail = f"{len(response.payload)} bytes in one message, and gRPC clients take {watch.message_bytes}: this one will"
            self._tell("oversized", response, detail=f"{detail} drop the stream, and come back for the same")
        return response

    def _owe_references(self, watch: W, response: Response) -> None:
        """A client that rebuilds a cluster needs its endpoints again, equal or not (S57, D13, D14).

        Not where there are none: told so, it would start without any, instead of keeping those that it has (D15).
        """
        assert self.group is not None
        snapshot = self.group.snapshot
        assert snapshot is not None
        for type_url, there in self._references(watch, response):
            other = self._watches.get(type_url)
            if other is None or other.cursor is None or not other.wants(there):
                continue
            if snapshot.get(type_url, there) is not None:
                other.owe(there)

    def _references(self, watch: W, response: Response) -> Iterable[tuple[str, str]]:
        """Types and names that what a response holds refers to."""
        assert self.group is not None
        if watch.holds_whole(self.group, response):
            whole = self.group.whole(watch.type_url).references.items()
            return ((type_url, there) for type_url, names in whole if type_url in self._watches for there in names)
        held = (watch.content(name) for name in response.names)
        return (reference for resource in held if resource is not None for reference in resource.references)

    # Telling

    def _subscribed(self, watch: W, added: tuple[str, ...], dropped: tuple[str, ...]) -> None:
        """`added`, `dropped`: sorted."""
        self._awaiting.asked(watch.type_url, added)
        self._tell("subscribed", type_url=watch.type_url, names=added, removed=dropped)

    def _tell_refused(self, watch: W) -> None:
        """What is kept back from this client from now on, and what is no more."""
        released, refused = watch.quarantine.news()
        if released:
            self._tell("released", type_url=watch.type_url, names=released)
        for words, names in refused.items():
            self._tell("quarantined", type_url=watch.type_url, names=names, detail=words)
            assert self.node is not None
            self._awaiting.kept_back(self.node, watch.type_url, names, words)

    def close(self, detail: str = "") -> None:
        """The transport ended the stream."""
        for watch in self._watches.values():
            if watch.unanswered:
                self._unsettle(watch, watch.unanswered.names())
        self._tell("closed", detail=detail)
        self._awaiting.left(self.node)

    def _tell(self, kind: Kind, about: Response | None = None, **more: Any) -> None:
        if self._observe is None:
            return
        if about is not None:
            more = {
                "type_url": about.type_url,
                "version": about.version,
                "nonce": about.nonce,
                "names": about.names,
                "removed": about.removed,
                **more,
            }
        self._observe(Event(kind, self.number, self.node, **more))
