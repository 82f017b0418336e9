"""A resource: one named, versioned message of one type, encoded once for every stream that will carry it.

Versions are hashes of content: the same message has the same version on every replica and after every restart, so a
client that reconnects can be told apart from one that is behind.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from google.protobuf.message import Message

from xds_server.xds.arguments import require
from xds_server.xds.validation import Violation, check

_PREFIX: Final = "type.googleapis.com/"

CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTES: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPED_ROUTES: Final = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
RUNTIME: Final = _PREFIX + "envoy.service.runtime.v3.Runtime"
EXTENSION_CONFIG: Final = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"


class InvalidResourceError(ValueError):
    """A message that Envoy would refuse, and with it everything else in the same response."""

    def __init__(self, kind: str, name: str, violations: Sequence[Violation]) -> None:
        self.kind, self.name, self.violations = kind, name, violations
        words = "; ".join(f"{violation.path} {violation.message}" for violation in violations)
        super().__init__(f"{kind} {name!r}: {words}")


class Reference(NamedTuple):
    """Another resource that a client drops, or asks for anew, when the resource that refers to it changes."""

    type_url: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One resource, ready to be sent. Equality is that of type, name and version."""

    type_url: str
    name: str
    version: str
    """Opaque, equal for equal content. In the delta protocol sent as `Resource.version`."""
    body: bytes
    """The encoded message, without its `Any`."""
    references: tuple[Reference, ...] = ()

    @property
    def sotw_frame(self) -> bytes:
        """The resource as one `resources` entry of a `DiscoveryResponse`."""
        head = self._head()
        return b"".join((_opened(2, len(head) + len(self.body)), head, self.body))

    @property
    def sotw_size(self) -> int:
        """Bytes of `sotw_frame`, or some more, found without making it."""
        return len(self.type_url) + len(self.body) + 16

    @property
    def delta_frame(self) -> bytes:
        """The resource as one `resources` entry of a `DeltaDiscoveryResponse`."""
        version, name = length_delimited(1, self.version.encode()), length_delimited(3, self.name.encode())
        head = self._head()
        wrapped = _opened(2, len(head) + len(self.body))
        length = len(version) + len(wrapped) + len(head) + len(self.body) + len(name)
        return b"".join((_opened(2, length), version, wrapped, head, self.body, name))

    def _head(self) -> bytes:
        """What comes before the body in its `Any`."""
        return length_delimited(1, self.type_url.encode()) + _opened(2, len(self.body))

    @classmethod
    def encode(
        cls,
        type_url: str,
        name: str,
        body: bytes,
        *,
        version: str | None = None,
        covers: Iterable[str] = (),
        references: Iterable[Reference] = (),
    ) -> "Resource":
        """Frame an encoded message.

        `version`: the caller's own, else the hash of the body. `covers`: versions of other resources that this one's
        version must change with (an assignment covers its cluster, so that a rebuilt cluster is sent its endpoints
        again: xDS "Resource warming"). `references`: see `Reference`. Raises TypeError for anything of another type.
        """
        require(type_url, str, "a resource's type URL")
        require(name, str, "a resource's name")
        require(body, bytes, f"the body of {name!r}")
        references = tuple(references)
        for reference in references:
            require(reference, Reference, f"a reference of {name!r}")
        if version is None:
            version = content_version(body, *_encoded(covers))
        require(version, str, f"the version of {name!r}")
        if not version:
            raise ValueError(f"the version of {name!r} cannot be empty: clients would take it for none")
        return cls(type_url, name, version, body, references)

    @classmethod
    def of(
        cls, message: Message, *, name: str | None = None, version: str | None = None, covers: Iterable[str] = ()
    ) -> "Resource":
        """Encode a protobuf message deterministically, under its own name unless another is given.

        A Cluster refers to its assignment by itself. Raises InvalidResourceError for a message that breaks the rules of its
        own fields, ValueError for one without a name, or with another one (clients track a resource by the name that it is
        sent under and use it by its own: a difference leaks for ever, D24).
        """
        require(message, Message, "a resource's message")
        kind: str = message.DESCRIPTOR.full_name
        written = getattr(message, "cluster_name" if kind.endswith(".ClusterLoadAssignment") else "name", "")
        own = name or written
        if not own:
            raise ValueError(f"a {kind} needs a name")
        if written and own != written:
            raise ValueError(f"a {kind} named {written!r} cannot be served under another name, {own!r}")
        if violations := check(message):
            raise InvalidResourceError(message.DESCRIPTOR.name, own, violations)
        return cls.encode(
            _PREFIX + kind,
            own,
            message.SerializeToString(deterministic=True),
            version=version,
            covers=covers,
            references=_references(message),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        return (self.version, self.name, self.type_url) == (other.version, other.name, other.type_url)

    def __hash__(self) -> int:
        return hash((self.version, self.name, self.type_url))

    def __repr__(self) -> str:
        return f"Resource({self.type_url.rpartition('.')[2]} {self.name!r} {self.version})"


def content_version(*parts: bytes) -> str:
    """A short hash of `parts`: 64 bits as 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def length_delimited(field: int, value: bytes) -> bytes:
    """One field of the protobuf wire format that holds bytes, text or a message."""
    return _opened(field, len(value)) + value


def _opened(field: int, length: int) -> bytes:
    """What comes before so many bytes of a field."""
    return varint(field << 3 | 2) + varint(length)


def varint(number: int) -> bytes:
    """A number in the protobuf wire format."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _encoded(covers: Iterable[str]) -> list[bytes]:
    if isinstance(covers, str):
        raise TypeError(f"covers must be several versions, is the text {covers!r}: write [{covers!r}]")
    covers = list(covers)
    for version in covers:
        require(version, str, "a version that is covered")
    return [version.encode() for version in covers]


def _references(message: Message) -> tuple[Reference, ...]:
    if message.DESCRIPTOR.full_name != "envoy.config.cluster.v3.Cluster" or not message.HasField("eds_cluster_config"):
        return ()
    eds: str = message.eds_cluster_config.service_name or message.name  # type: ignore[attr-defined]
    return (Reference(ENDPOINTS, eds),)
