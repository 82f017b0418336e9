"""What must hold for every response on every stream (conformance S and D items), checked as the responses go out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from recorder_type import TypeRecord
from recorder_wire import Message, clusters_in, read_response

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot
from xds_server.xds.ordering import BREAK_WAIT
from xds_server.xds.unanswered import Response

USERS = (LISTENER, ROUTES)
"""Types that direct traffic to clusters."""
STORY = 100
"""Lines of a stream's story that are kept."""


class StreamRecord:
    """One stream, from its first request. `check` yields what a response breaks, in words."""

    def __init__(self, *, delta: bool) -> None:
        self.delta = delta
        self.types: dict[str, TypeRecord] = {}
        self._nonces: set[str] = set()
        self._versions: dict[str, str] = {}
        """Of each type as last sent."""
        self._is_envoy = False
        self._story: deque[tuple[Any, ...]] = deque(maxlen=STORY)

    # Story

    def note(self, *line: Any) -> None:
        """Add a line to the story; it is only put into words when it is told."""
        self._story.append(line)

    def tell(self) -> str:
        return "\n".join("  " + " ".join(_words(part) for part in line if part) for line in self._story)

    # Requests

    def request(self, type_url: str, request: Any, unsettled: frozenset[str]) -> None:
        """`unsettled`: what the node may have applied on an earlier stream without telling (D20)."""
        rejected = request.HasField("error_detail")
        self._is_envoy |= request.node.user_agent_name == "envoy"
        self.note(
            "->",
            _short(type_url),
            rejected and f"NACK {request.error_detail.message[:200]!r}",
            request.response_nonce and f"nonce {request.response_nonce}",
            tuple(request.resource_names_subscribe if self.delta else request.resource_names),
            self.delta and request.resource_names_unsubscribe and ("unsubscribe", *request.resource_names_unsubscribe),
            self.delta and request.initial_resource_versions and ("holds", *request.initial_resource_versions),
            not self.delta and request.version_info and f"version {request.version_info}",
        )
        record = self._type(type_url)
        if record.responses and not record.requested and not request.response_nonce:
            # It was sent this type unasked (S71), dropped it, and asks only now.
            del self.types[type_url]
            record = self._type(type_url)
        # An error of before, beside the version that was sent since: Envoy took that (S19).
        is_left_over = self._is_envoy and not self.delta and request.version_info == self._versions.get(type_url)
        words = request.error_detail.message if rejected else None
        record.answered(request.response_nonce, words, is_left_over=is_left_over)
        record.take(request, unsettled)

    def found(self, refused: Resource, older: Resource) -> None:
        """The history says what `refused` was before."""
        record = self._type(refused.type_url)
        record.older[refused.name] = older
        record.may_repeat = True

    def _type(self, type_url: str) -> TypeRecord:
        record = self.types.get(type_url)
        if record is None:
            record = self.types[type_url] = TypeRecord(type_url, delta=self.delta)
        return record

    # Responses

    def follow(self, group: Any, now: float) -> None:
        """Before a response is made: take in what changed."""
        for record in self.types.values():
            record.follow(group, now)

    def silent(self) -> None:
        """There was nothing (more) to say: what was asked just now is answered."""
        for record in self.types.values():
            record.asked = False

    def check(self, response: Response, group: Any, now: float) -> Iterator[str]:
        message = read_response(response.payload, delta=self.delta)
        self.note(
            f"<- {now:.3f}",
            _short(message.type_url),
            f"nonce {message.nonce} version {message.version}",
            tuple(entry.tracked_as for entry in message.entries),
            message.removed and ("removed", *message.removed),
        )
        if not message.type_url:
            yield "S11: a response without a type"
            return
        yield from self._form(message)
        snapshot = group.snapshot
        record = self.types.get(message.type_url)
        if record is None:
            if message.type_url != CLUSTER:
                yield f"D50: nobody asked for {_short(message.type_url)}"
            record = self._type(message.type_url)  # a rescue (S71)
            record.wildcard = record.began = record.answer_due = record.asked = True
            record.follow(group, now)
        if record.is_held(snapshot):
            yield "S16: something is said to a client that holds something, and nothing was ever written"
        yield from self._content(record, message, snapshot)
        yield from self._reason(record, message, snapshot)
        yield from self._make_order(record, message, snapshot)
        if record.type_url == CLUSTER or message.removed:
            yield from self._break_order(record, message, snapshot, now)
        self._sent(record, message, snapshot)

    def _form(self, message: Message) -> Iterator[str]:
        if not message.nonce:
            yield "S9: an empty nonce"
        elif message.nonce in self._nonces:
            yield f"S9: nonce {message.nonce} for the second time"
        self._nonces.add(message.nonce)
        seen: set[str] = set()
        for name in (*(entry.tracked_as for entry in message.entries), *message.removed):
            if name in seen:
                yield f"S45, D25: {name!r} twice in one response"
            seen.add(name)
        for entry in message.entries:
            if entry.type_url != message.type_url:
                yield f"S11: {entry.tracked_as!r} is a {entry.type_url}, the response is of {message.type_url}"
            if entry.tracked_as != entry.name:
                yield f"D24: sent as {entry.tracked_as!r}, named {entry.name!r}"
            if entry.version == "":
                yield f"D22: {entry.tracked_as!r} without a version"

    def _content(self, record: TypeRecord, message: Message, snapshot: Snapshot) -> Iterator[str]:
        for entry in message.entries:
            name, resource = entry.tracked_as, snapshot.get(record.type_url, entry.tracked_as)
            if not record.wants(name):
                yield f"S41, D28: {name!r} was not asked for"
            kept_back = record.full_set and name in record.barred
            if resource is None:
                if not record.full_set or name not in record.held:
                    yield f"D27: {name!r} does not exist, and the client was not sent it before"
            elif kept_back and (record.accepted is None or entry.body == body_of(record.accepted.get(name))):
                pass  # what the client accepted last, as far as that is known, in place of what it refuses
            elif entry.body != resource.body or entry.version not in (None, resource.version):
                yield f"{name!r} is not what the snapshot holds"
        if record.full_set:
            present = {entry.tracked_as for entry in message.entries}
            wanted = snapshot.names(record.type_url) if record.wildcard else record.names
            for name in wanted:
                left_out = name in record.barred and record.accepted is not None and name not in record.accepted
                if name not in present and not left_out and snapshot.get(record.type_url, name) is not None:
                    yield f"S42: {name!r} is missing, which deletes it"
        for name in message.removed:
            if snapshot.get(record.type_url, name) is not None:
                yield f"D27: {name!r} is said to be gone, and exists"

    def _reason(self, record: TypeRecord, message: Message, snapshot: Snapshot) -> Iterator[str]:
        """Every response has a reason: no answer to an ACK, nothing sent again after a NACK (S17, S20, D26, D30)."""
        asked = record.began or (record.wildcard and record.answer_due)
        if not message.entries and not message.removed and not record.full_set and not asked:
            yield "S17, S20, S44: an empty response, and nobody asked for everything"
        names = {entry.tracked_as for entry in message.entries}
        if record.full_set:
            fresh = record.due & names or record.held.keys() - names
            if not (fresh or record.answer_due or (record.may_repeat and self._differs(record, message))):
                yield "S17, S20: the client was sent exactly this before, and nothing asks for it again"
        else:
            for name in names - record.due - record.tries:
                yield f"S17, S20, D26, D30: {name!r} was sent before, and nothing asks for it again"
            if names and not names & record.due and record.tries_left <= 0:
                yield f"S20, D30, B1: {sorted(names)} once more, after all tries that a rejection is worth"
        for name in message.removed:
            known = name in record.held or name in record.deniable
            if not known and not (record.wildcard and name not in record.told):
                yield f"D9, D28: {name!r} is said to be gone again, or to a client that never asked for it"

    def _differs(self, record: TypeRecord, message: Message) -> bool:
        """Whether a full set is another one than that which was sent last."""
        return any(
            (held := record.held.get(entry.tracked_as)) is None or held.body != entry.body for entry in message.entries
        )

    def _make_order(self, record: TypeRecord, message: Message, snapshot: Snapshot) -> Iterator[str]:
        """Nothing that refers to a changed cluster goes before it, unless the client asked for it just now."""
        clusters = self.types.get(CLUSTER)
        if clusters is None or not clusters.requested or not clusters.due or record.asked:
            return
        late: set[str] = set()
        # What changed and changed back needs not be sent.
        due = {name for name in clusters.due if clusters.held.get(name) != snapshot.get(CLUSTER, name)}
        if record.type_url == ENDPOINTS:
            names = {entry.name for entry in message.entries}
            for name in due:
                cluster = snapshot.get(CLUSTER, name)
                if cluster is not None and any(ref.name in names for ref in cluster.references):
                    late.add(name)
        elif record.type_url in USERS:
            used = (clusters_in(record.type_url, entry.body) for entry in message.entries)
            late = {name for name in due.intersection(*[set().union(*used)]) if snapshot.get(CLUSTER, name)}
        for name in sorted(late):
            yield f"S55, S60, B35, B36: cluster {name!r}, which this refers to, has changed and was not sent yet"

    def _break_order(self, record: TypeRecord, message: Message, snapshot: Snapshot, now: float) -> Iterator[str]:
        """A cluster that listeners or routes as last sent still use is not taken away, for a bounded time (S55, S56, D33)."""
        clusters = self.types.get(CLUSTER)
        if clusters is None or not clusters.gone:
            return
        if record is clusters:
            present = {entry.tracked_as for entry in message.entries}
            # What the client asked for is denied at once (D8, D11).
            lost = set(message.removed) - record.deniable if self.delta else clusters.gone.keys() - present
        elif record.type_url == ENDPOINTS:
            lost = {
                name
                for name in clusters.gone
                if (held := clusters.held.get(name))
                and any(ref.name in set(message.removed) - record.deniable for ref in held.references)
            }
        else:
            return
        since = min(clusters.gone.values()) if record is clusters else min(record.gone.values(), default=now)
        if now - since < BREAK_WAIT - 0.001:
            for name in sorted(lost & self._still_used(snapshot)):
                yield f"S55, S56, D33: cluster {name!r} is taken away while what was sent last still uses it"

    def _still_used(self, snapshot: Snapshot) -> set[str]:
        """Clusters that listeners and routes use as they were last sent, and will not once they are sent anew."""
        used: set[str] = set()
        for type_url in USERS:
            record = self.types.get(type_url)
            for name, held in (record.held if record is not None else {}).items():
                new = snapshot.get(type_url, name)
                if held is None or held is new or (new is None and not self.delta and type_url == ROUTES):
                    continue
                now = clusters_in(type_url, new.body) if new is not None else frozenset()
                used |= clusters_in(type_url, held.body) - now
        return used

    def _sent(self, record: TypeRecord, message: Message, snapshot: Snapshot) -> None:
        resources: dict[str, Resource | None] = {}
        for entry in message.entries:
            name = entry.tracked_as
            accepted = record.accepted or {}
            known = (
                snapshot.get(record.type_url, name), record.held.get(name), accepted.get(name), record.older.get(name)
            )  # fmt: skip
            resources[name] = next((one for one in known if one is not None and one.body == entry.body), None)
        self._versions[record.type_url] = message.version
        fresh = set(resources) if record.answer_due or not record.responses else record.due.intersection(resources)
        fresh |= (record.tries | record.unsure).intersection(resources)
        record.sent(message, resources)
        for name in fresh:
            resource = resources[name]
            for reference in resource.references if resource is not None else ():
                if (other := self.types.get(reference.type_url)) is not None:
                    other.refer(reference.name)


def body_of(resource: Resource | None) -> bytes | None:
    return resource.body if resource is not None else None


def _short(type_url: str) -> str:
    return type_url.rpartition(".")[2]


def _words(part: Any) -> str:
    if isinstance(part, tuple):
        return "[" + ", ".join(map(str, part[:12])) + (f", … {len(part)}" if len(part) > 12 else "") + "]"
    return str(part)
