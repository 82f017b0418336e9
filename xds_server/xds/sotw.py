"""State of the world: each request names everything that the client wants of a type.

Rules: xDS protocol, "SotW" (conformance S1 to S72). For clusters and listeners a response is the full set, and absent means
deleted; for every other type it holds what is new, and absent means unchanged. No I/O here, nothing about grpc.
"""

from collections.abc import Set
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.xds.group import Group
from xds_server.xds.last_good import LastGood
from xds_server.xds.ordering import FULL_SETS, LEGACY_WILDCARD
from xds_server.xds.quarantine import MOST_TRIES
from xds_server.xds.resource import Resource, content_version, length_delimited
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream import Stream
from xds_server.xds.subscription import Subscription
from xds_server.xds.unanswered import Response
from xds_server.xds.watch import Watch

_ENVELOPE_BYTES: Final = 4096
"""What a response needs besides its resources, with room to spare."""


class SotwWatch(Watch):
    """One type of a state-of-the-world stream."""

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url, window=1, remembered=1)
        self.full_set = type_url in FULL_SETS
        self.held_version = ""
        """What the client says that it holds from an earlier stream."""
        self.latest_nonce = ""
        self._sought: list[Resource] = []
        self._words: dict[str, str] = {}
        """What the client said of what is missing in `_last_good`."""
        self._last_good = LastGood(type_url)
        self._tries = 0
        """Full sets that were rejected in a row."""
        self._named = False

    def subscribe(self, wanted: Subscription, *, again: bool) -> tuple[Set[str], Set[str]]:
        """Take the full list of a request; returns what was added and dropped. `again`: the client holds nothing."""
        names, held = wanted.names, self.names
        self._named |= wanted.wildcard or bool(names)
        wildcard = wanted.wildcard or (not self._named and self.type_url in LEGACY_WILDCARD)
        added: Set[str] = frozenset()
        dropped: Set[str] = frozenset()
        if names is not held:
            added, dropped = names - held if held else names, held - names
        if wildcard and not self.wildcard:
            added = added | {"*"}
        if self.wildcard and not wildcard:
            dropped = dropped | {"*"}
        self.wildcard, self.names = wildcard, names
        self.forget_unwanted()
        if self.cursor is None:
            self.must_answer = wildcard
        elif again or added:
            self.must_answer |= wildcard
            asked = names if again else added - {"*"}
            self._owe_anew(asked)
            self.asked |= asked
            if again:
                self._last_good.start_over()
            if "*" in added or (again and wildcard):
                everything = set(self.cursor.names(self.type_url))
                self._owe_anew(everything)
                self.new |= everything if again else everything - held
        return added, dropped

    @property
    def claims(self) -> bool:
        return bool(self.held_version)

    def follow(self, group: Group) -> None:
        super().follow(group)
        if not self.full_set:
            self.gone.clear()  # absence means nothing here: the resource that referred to it tells (S44)

    def forget_unwanted(self) -> None:
        super().forget_unwanted()
        if not self.wildcard:
            self._last_good.keep(self.names)

    def _moved(self, name: str) -> None:
        super()._moved(name)
        self._last_good.forget(name)

    def _may_lack(self, name: str) -> bool:
        return self._lacks(name) if self.full_set else super()._may_lack(name)

    def _lacks(self, name: str) -> bool:
        return name in self._last_good.stand_ins and self.content(name) is None

    def content(self, name: str) -> Resource | None:
        stand_ins = self._last_good.stand_ins
        return stand_ins[name] if name in stand_ins else super().content(name)

    def _withdraw(self, name: str) -> None:
        # It may hold what it asks for by name, from the time when it asked for everything: only the set says that it is gone.
        self.must_answer |= self.full_set and name in self.asked
        self._last_good.gone(name)
        super()._withdraw(name)

    def _begin(self, group: Group, snapshot: Snapshot) -> Set[str]:
        past = group.past(self.type_url, self.held_version) if self.held_version and self.full_set else None
        if self.wildcard and past is not None:
            # Versions are of content: the client holds exactly this. What is gone since goes last here, too (S56, S67).
            difference = group.difference(self.type_url, past, snapshot)
            self.owed = set(difference.changed)
            self.gone = {
                name: held for name in difference.removed if (held := past.get(self.type_url, name)) is not None
            }
            self.inherited = bool(self.gone)
            # Unless it rejected something since, and applied a part of it: only the whole set takes that away.
            self.must_answer = bool(self.unsettled())
            self._last_good.begin(past, complete=not self.must_answer)
            return frozenset(past.names(self.type_url))
        if self.full_set and self.requested and not self.held_version and not self.unsettled():
            self._last_good.start_over()
        self.owed = set(group.whole(self.type_url).all if self.wildcard else self.names)
        self.asked = set(self.names)
        # What it holds by name may all be gone by now: absent means deleted (S42).
        self.must_answer |= self.full_set and bool(self.names and self.held_version)
        return self.names if self.held_version and not self.full_set else frozenset()

    def make(self, group: Group, nonce: str, *, final: bool) -> Response | None:
        snapshot = group.snapshot
        assert snapshot is not None
        answer = self.must_answer
        taken = self.take(nonce)
        if final:
            answer |= bool(self.take_gone())
        names = group.present(self.type_url, taken)
        if self.message_bytes is not None and not self.full_set:
            names, later = _fitting(names, snapshot, self.type_url, self.message_bytes)
            self.owed.update(later)
        said = self.full_set and self.wildcard and self._last_good.said(self._last_good.view(snapshot), self.gone)
        if not answer and (said or not names):
            self.urgent = False
            return None  # nothing that was asked for exists: silence, until it does (S39)
        return self._response(group, snapshot, nonce, names)

    def retire(self, group: Group, nonce: str) -> Response:
        assert group.snapshot is not None
        self.take_gone()
        return self._response(group, group.snapshot, nonce, ())

    def _response(self, group: Group, snapshot: Snapshot, nonce: str, changed: tuple[str, ...]) -> Response:
        if self.full_set:
            snapshot = self._last_good.view(snapshot)
        version = snapshot.version(self.type_url)
        if self.full_set and self.rejected:
            names = self.rejected | set(changed)
            changed = tuple(sorted(n for n in names if self.wants(n) and snapshot.get(self.type_url, n) is not None))
        if self.full_set and self.gone:
            # What is gone goes last: until then the set still holds it, under a version of its own (S56).
            kept = (f"{name}\0{held.version}".encode() for name, held in sorted(self.gone.items()))
            version = content_version(version.encode(), *kept)
        elif self.full_set and self._last_good.stand_ins:
            group.remember(self.type_url, snapshot)
        whole = self.wildcard if self.full_set else len(changed) == snapshot.count(self.type_url)
        if whole or (not self.full_set and len(changed) == 1):
            key = ("sotw", self.type_url, version, *(() if whole else changed))
            body = group.body(key, lambda: self._body(snapshot, version, changed))
        else:
            body = self._body(snapshot, version, changed)
        self.latest_nonce = nonce
        payload = b"".join((body, length_delimited(5, nonce.encode()), self.trailer))
        if self.full_set:
            self._last_good.sent(snapshot, self.gone, changed)
        if self._holds_whole(group, changed):
            versions = group.whole(self.type_url).versions
        else:
            versions = tuple(r.version for name in changed if (r := snapshot.get(self.type_url, name)) is not None)
        return Response(self.type_url, nonce, version, changed, (), payload, versions)

    def holds_whole(self, group: Group, response: Response) -> bool:
        return self._holds_whole(group, response.names)

    def _holds_whole(self, group: Group, names: tuple[str, ...]) -> bool:
        return not self._last_good.stand_ins and group.is_all(self.type_url, names)

    def _body(self, snapshot: Snapshot, version: str, changed: tuple[str, ...]) -> bytes:
        resources: list[Resource]
        if not self.full_set:
            resources = [r for name in changed if (r := snapshot.get(self.type_url, name)) is not None]
        elif self.wildcard:
            resources = sorted([*snapshot.resources(self.type_url), *self.gone.values()], key=lambda r: r.name)
        else:
            found = (snapshot.get(self.type_url, name) or self.gone.get(name) for name in sorted(self.names))
            resources = [resource for resource in found if resource is not None]
        return b"".join(
            (
                length_delimited(1, version.encode()),
                *(resource.sotw_frame for resource in resources),
                length_delimited(4, self.type_url.encode()),
            )
        )

    # Answers: a full set is rejected as a whole, and its next one holds everything again, but for what was refused.

    def _suspects(self, response: Response) -> tuple[str, ...]:
        return self._last_good.candidates() if self.full_set else response.names

    def _accepted(self, response: Response) -> None:
        if not self.full_set:
            super()._accepted(response)
            return
        self.rejected = set()
        self._tries = 0
        self._last_good.accepted(None if self.wildcard else frozenset(self.names))

    def _rejected(self, response: Response, detail: str, culprits: tuple[str, ...], *, is_left_over: bool) -> None:
        if not self.full_set:
            super()._rejected(response, detail, culprits, is_left_over=is_left_over)
            return
        assert self.cursor is not None
        known = self._last_good.missing.keys() | ()
        kept_back = self._last_good.refused(() if is_left_over else culprits, self.cursor)
        self._sought += [refused for name, refused in self._last_good.missing.items() if name not in known]
        self._words |= dict.fromkeys(self._last_good.missing.keys() - known, detail)
        for name in kept_back:
            self.quarantine.refuse(name, detail)
        self.rejected = self.rejected | set(response.names)
        self._tries += 1
        if kept_back:
            self._go_on()

    def sought(self) -> list[Resource]:
        sought, self._sought = self._sought, []
        return sought

    def found(self, refused: Resource, older: Resource) -> bool:
        if not self._last_good.found(refused, older):
            return False
        self.quarantine.refuse(refused.name, self._words.pop(refused.name, ""))
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Something stands in for what was refused: send the rest again, if the client may lack it."""
        if self.cursor is not None and self._tries <= MOST_TRIES and self._is_behind(self.cursor):
            self.must_answer = True

    def _is_behind(self, snapshot: Snapshot) -> bool:
        """Of a full set: whether the client may hold anything else than it should, with what stands in for what it refuses."""
        return self._last_good.lacks(self._last_good.view(snapshot), None if self.wildcard else self.names)


def _fitting(
    names: tuple[str, ...], snapshot: Snapshot, type_url: str, limit: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As many of `names` as fit into a message (one at least), and the rest (P1)."""
    left = limit - _ENVELOPE_BYTES
    for index, name in enumerate(names):
        resource = snapshot.get(type_url, name)
        left -= resource.sotw_size if resource is not None else 0
        if left < 0 and index > 0:
            return names[:index], names[index:]
    return names, ()


class SotwStream(Stream[SotwWatch]):
    """A state-of-the-world stream: `DiscoveryRequest` in, `DiscoveryResponse` out."""

    request = discovery_pb2.DiscoveryRequest
    variant = "sotw"
    control_plane_field = 6

    def _watch(self, type_url: str) -> SotwWatch:
        return SotwWatch(type_url)

    def _names_in(self, request: Any) -> int:
        return len(request.resource_names)

    def _read(self, watch: SotwWatch, request: Any) -> None:
        nonce: str = request.response_nonce
        if nonce and nonce == watch.latest_nonce:
            detail = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(watch, nonce, detail, request.version_info)
        if not watch.requested:
            watch.begin_request()
            watch.held_version = request.version_info
        # An empty nonce after everything was answered is a new subscription of a client that holds nothing (S30); while
        # answers are under way it is a request that crossed them (S32).
        again = not nonce and bool(watch.latest_nonce) and not watch.unanswered
        # The names count whatever the nonce (S28, S22).
        assert self.group is not None
        wanted = self.group.requested(request)
        added, dropped = watch.subscribe(wanted, again=again)
        if added or dropped:
            in_order = wanted.in_order if added is wanted.names else tuple(sorted(added))
            self._subscribed(watch, in_order, tuple(sorted(dropped)))
