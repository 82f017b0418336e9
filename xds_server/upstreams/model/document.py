"""A whole set of definitions, and what only shows when they are seen together."""

from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from pydantic import Field

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.gateway import Gateway
from xds_server.upstreams.model.nodes import NodeSelector
from xds_server.upstreams.model.target import Locality
from xds_server.upstreams.model.upstream import Upstream


class Document(Definition):
    """One definition file, or the whole of what is applied at once."""

    upstreams: tuple[Upstream, ...] = Field(default=())
    """Virtual host names and the targets that answer for them. Default: none."""
    gateways: tuple[Gateway, ...] = Field(default=())
    """Listeners for Envoys that take them from the control plane. Default: none."""


T = TypeVar("T", bound=Upstream | Gateway)
T_co = TypeVar("T_co", bound=Upstream | Gateway, covariant=True)


class Located(Protocol[T_co]):
    """A definition that has a place, as `Placed` has; its model may be made when it is asked for. Its text is the place."""

    @property
    def source(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def value(self) -> T_co: ...


class Placed(NamedTuple, Generic[T]):
    """A definition and where it was read: a source (a file, say) and a line in it, 0 where a source has no lines."""

    source: str
    line: int
    value: T

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Clash(NamedTuple):
    """Two definitions that cannot both be served: `at` is the later one, `field` the field of it that clashes."""

    at: Located[Upstream] | Located[Gateway]
    field: str
    message: str
    other: Located[Upstream] | Located[Gateway] | None


def clashes(upstreams: Iterable[Located[Upstream]], gateways: Iterable[Located[Gateway]]) -> Iterator[Clash]:
    """All that is wrong between definitions: names, host names and ports used twice, upstreams that do not exist."""
    by_name: dict[str, Located[Upstream]] = {}
    by_host: dict[str, list[Located[Upstream]]] = {}
    for placed in upstreams:
        name = placed.value.name
        if (first := by_name.setdefault(name, placed)) is not placed:
            yield Clash(placed, "name", f"upstream {name!r} is already defined at {first}", first)
            continue
        for hostname in placed.value.virtual_hosts:
            for other in by_host.setdefault(hostname, []):
                if may_share_envoy(placed.value.nodes, other.value.nodes):
                    message = f"{hostname!r} is also answered by upstream {other.value.name!r} at {other}"
                    yield Clash(placed, "name" if hostname == name else "hostnames", message, other)
                    break  # one is enough: a name copied n times would make n * n / 2 of them
            by_host[hostname].append(placed)
    yield from _gateway_clashes(gateways, by_name)


def _gateway_clashes(gateways: Iterable[Located[Gateway]], upstreams: dict[str, Located[Upstream]]) -> Iterator[Clash]:
    names: dict[str, Located[Gateway]] = {}
    ports: dict[int, list[Located[Gateway]]] = {}
    for placed in gateways:
        gateway = placed.value
        if (first := names.setdefault(gateway.name, placed)) is not placed:
            yield Clash(placed, "name", f"gateway {gateway.name!r} is already defined at {first}", first)
            continue
        for other in ports.setdefault(gateway.port, []):
            if _overlap(gateway.address, other.value.address):
                message = f"port {gateway.port} is already taken by gateway {other.value.name!r} at {other}"
                yield Clash(placed, "port", message, other)
                break
        ports[gateway.port].append(placed)
        target = upstreams.get(gateway.upstream) if gateway.upstream else None
        if gateway.upstream and target is None:
            yield Clash(placed, "upstream", f"there is no upstream {gateway.upstream!r}", None)


def _overlap(one: str, other: str) -> bool:
    """Whether both addresses cannot be bound with one port. Envoy binds ``::`` for IPv6 alone, beside ``0.0.0.0``."""
    return one == other or ((":" in one) == (":" in other) and bool({one, other} & {"0.0.0.0", "::"}))


def may_share_envoy(one: NodeSelector, other: NodeSelector) -> bool:
    """Whether some Envoy could match both selectors. True when in doubt."""
    for mine, theirs in ((one.clusters, other.clusters), (one.ids, other.ids)):
        if mine and theirs and not set(mine) & set(theirs):
            return False
    if any(other.labels.get(key, value) != value for key, value in one.labels.items()):
        return False
    return (
        not one.localities
        or not other.localities
        or any(_may_be_same(a, b) for a in one.localities for b in other.localities)
    )


def _may_be_same(one: Locality, other: Locality) -> bool:
    pairs = ((one.region, other.region), (one.zone, other.zone), (one.sub_zone, other.sub_zone))
    return all(not a or not b or a == b for a, b in pairs)
