"""Incremental xDS: each request adds and removes names, each response holds what is new and what is gone.

Rules: xDS protocol, "Incremental xDS" (conformance D1 to D33). A nonce is never a reason to drop a request, every name that is
asked for is answered, and what a returning client says that it holds is believed for whole sets only. No I/O here.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.xds.group import Group
from xds_server.xds.memory import EVERYTHING
from xds_server.xds.ordering import LEGACY_WILDCARD
from xds_server.xds.resource import Resource, length_delimited
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream import Stream
from xds_server.xds.unanswered import Response
from xds_server.xds.watch import Watch


class DeltaWatch(Watch):
    """One type of an incremental stream."""

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url, window=4, remembered=64)
        self.held: Mapping[str, str] = {}
        """Versions by name that the client says it holds from an earlier stream; dropped after the first look."""

    def subscribe(self, subscribe: set[str], unsubscribe: set[str]) -> None:
        """Add and remove names (D1); both must be answered where the protocol says so (D7, D11)."""
        if "*" in subscribe:
            self.wildcard = True
            if self.cursor is not None:  # asked for, so answered, also when it was held (D7)
                self._owe_anew(set(self.cursor.names(self.type_url)))
                self.must_answer = True
        named = subscribe - {"*"}
        if named:
            self.own_names().update(named)
        if named and self.cursor is not None:
            self._owe_anew(named)
            self.asked |= named
            for name in named:
                self.gone.pop(name, None)
        if "*" in unsubscribe:
            self.wildcard = False
        dropped = unsubscribe - {"*"}
        if dropped:
            self.own_names().difference_update(dropped)
        if self.wildcard and dropped and self.cursor is not None:
            # Is it still part of the whole set, or gone? The client cannot know (D11).
            self._owe_anew(dropped)
            self.asked |= dropped
            self.gone = {name: held for name, held in self.gone.items() if name not in dropped}
        elif not self.wildcard:
            self.forget_unwanted()

    def come_back(self, held: Mapping[str, str]) -> None:
        """Take what the client says that it holds (D18)."""
        if self.cursor is None:
            self.held = held
        else:  # it was sent everything unasked (S71): what is left to find out is what it must drop
            self.wildcard = False  # as the request says
            unknown = (name for name in held if self.cursor.get(self.type_url, name) is None)
            self.gone |= {name: _forgotten(self.type_url, name) for name in unknown}
            self.inherited = bool(self.gone)

    @property
    def claims(self) -> bool:
        return bool(self.held)

    def legacy_wildcard(self) -> None:
        """The first request named nothing: everything is meant (D4)."""
        self.wildcard = True

    def _begin(self, group: Group, snapshot: Snapshot) -> Set[str]:
        held, self.held = self.held, {}
        self.names = group.shared(self.names)
        unsettled = self.unsettled()
        if self.wildcard:
            if EVERYTHING in unsettled:
                unsettled = unsettled - {EVERYTHING} | {*snapshot.names(self.type_url)}
            whole = group.whole(self.type_url)
            if held:
                versions = zip(whole.names, whole.versions, strict=True)
                self.owed |= {name for name, version in versions if name in unsettled or held.get(name) != version}
            else:
                self.owed |= whole.all
            for name in (held.keys() | unsettled) - whole.all:
                self.gone[name] = _forgotten(self.type_url, name)
            self.inherited = bool(self.gone)
            self.doubtful = set(unsettled - held.keys())
            self.must_answer = not held
        # Nothing proves that a client still holds what it names (D19): always answered.
        self.asked = set(self.names - self.gone.keys())
        self.owed |= self.asked
        return held.keys()

    def make(self, group: Group, nonce: str, *, final: bool) -> Response | None:
        snapshot = group.snapshot
        assert snapshot is not None
        answer = self.must_answer
        taken = self.take(nonce)
        present = group.present(self.type_url, taken)
        # Asked for and not there: denied at once, remembered, sent when it comes (D8).
        absent = taken.difference(present) | self._still_refused()
        if final:
            absent |= self.take_gone()
        if not (present or absent or answer):
            self.urgent = False
            return None
        return self._response(group, snapshot, nonce, present, tuple(sorted(absent)))

    def retire(self, group: Group, nonce: str) -> Response:
        assert group.snapshot is not None
        self._repeat = False
        names = self.take_gone() | self._still_refused()
        return self._response(group, group.snapshot, nonce, (), tuple(sorted(names)))

    def _still_refused(self) -> set[str]:
        refused, self.refused_removals = self.refused_removals, set()
        return refused

    def _response(
        self, group: Group, snapshot: Snapshot, nonce: str, names: tuple[str, ...], removed: tuple[str, ...]
    ) -> Response:
        if group.is_all(self.type_url, names):
            versions = group.whole(self.type_url).versions
            frames = group.body(("delta", self.type_url), lambda: self._frames(snapshot.resources(self.type_url)))
        else:
            resources = [resource for name in names if (resource := snapshot.get(self.type_url, name)) is not None]
            versions, frames = tuple(resource.version for resource in resources), self._frames(resources)
        version = snapshot.version(self.type_url)
        payload = b"".join(
            (
                length_delimited(1, version.encode()),
                frames,
                length_delimited(4, self.type_url.encode()),
                length_delimited(5, nonce.encode()),
                *(length_delimited(6, name.encode()) for name in removed),
                self.trailer,
            )
        )
        return Response(self.type_url, nonce, version, names, removed, payload, versions)

    def _frames(self, resources: Iterable[Resource]) -> bytes:
        return b"".join(resource.delta_frame for resource in resources)


def _forgotten(type_url: str, name: str) -> Resource:
    """Stands for a resource that only the client still knows."""
    return Resource.encode(type_url, name, b"")


class DeltaStream(Stream[DeltaWatch]):
    """An incremental stream: `DeltaDiscoveryRequest` in, `DeltaDiscoveryResponse` out."""

    request = discovery_pb2.DeltaDiscoveryRequest
    variant = "delta"
    control_plane_field = 7

    def _watch(self, type_url: str) -> DeltaWatch:
        return DeltaWatch(type_url)

    def _names_in(self, request: Any) -> int:
        told = len(request.initial_resource_versions)
        return told + len(request.resource_names_subscribe) + len(request.resource_names_unsubscribe)

    def _read(self, watch: DeltaWatch, request: Any) -> None:
        if request.response_nonce:
            detail = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(watch, request.response_nonce, detail)
        added, dropped = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if not watch.requested:
            watch.begin_request()
            watch.come_back(dict(request.initial_resource_versions))
            if not added and not dropped and watch.type_url in LEGACY_WILDCARD:
                watch.legacy_wildcard()
                self._subscribed(watch, ("*",), ())
        if added or dropped:
            watch.subscribe(added, dropped)
            self._subscribed(watch, tuple(sorted(added)), tuple(sorted(dropped)))
