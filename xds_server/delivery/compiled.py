"""One definition, compiled for those that ask in one dialect: the resources that it becomes, checked, or why it cannot be."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from xds_server.delivery.kept import Kept, still_true
from xds_server.secrets.files import Kind
from xds_server.upstreams.model import Gateway, Problem, Upstream
from xds_server.upstreams.model.base import Location
from xds_server.upstreams.recent import Recent
from xds_server.upstreams.translate import (
    NOWHERE,
    Addresses,
    Dialect,
    HeldSecrets,
    OverrideError,
    Place,
    cluster_resource,
    encoded_resource,
    endpoints_near,
    held_secrets,
    listener_resource,
    secret_resources,
    virtual_host,
)
from xds_server.upstreams.translate.message_types import message_type
from xds_server.upstreams.translate.proxyless import ProxylessError, proxyless_resources
from xds_server.upstreams.translate.written import written
from xds_server.xds.resource import ENDPOINTS, SECRET, InvalidResourceError, Resource
from xds_server.xds.validation import check

_STEP: Final = re.compile(r"""\[(\d+)\]|\['([^']*)'\]|([^.\[\]]+)""")
"""One step of a violation's path: an index, the key of a map, or a field."""


class NotServableError(Exception):
    """A definition that those who ask in a dialect would refuse.

    Problems are where its author wrote them; () is the definition itself.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a definition becomes."""

    resources: tuple[Resource, ...]
    virtual_host: bytes | None = None
    """The encoded virtual host that joins the shared route configuration; None for what is not routed by host name."""
    warnings: tuple[str, ...] = ()
    """How the resources fall short of the definition: what the dialect cannot express."""
    nearest_first: bool = False
    """Whether endpoints differ from place to place; `resources` has those for `NOWHERE`."""

    def resources_at(self, place: Place) -> tuple[Resource, ...]:
        """`resources` for those at `place`."""
        if not self.nearest_first or place == NOWHERE:
            return self.resources
        return tuple(endpoints_near(r, place) if r.type_url == ENDPOINTS else r for r in self.resources)


class Secrets(Protocol):
    """What the control plane keeps of secrets."""

    @property
    def held(self) -> HeldSecrets:
        """Content by kind and name."""

    def problem(self, key: tuple[Kind, str]) -> str:
        """Why there is no content of a secret; empty when there is some."""


def compile_upstream(
    upstream: Upstream,
    addresses: Addresses,
    dialect: Dialect = Dialect.ADS,
    *,
    served: bool = False,
    secrets: Secrets | None = None,
    recent: Recent[Kept] | None = None,
) -> Compiled:
    """Translate and check an upstream. Raises NotServableError.

    `secrets`: None where they cannot be known, and then are not looked for.
    `served`: an assignment of it was served already, so that leaving it out would not keep anything from being lost.
    `recent`: what was made of upstreams of late, from which is taken what did not change. Of those that were served before,
    what is made now is added.
    """
    if dialect.is_envoys:
        made = _for_envoys(upstream, addresses, dialect, secrets, recent, remembered=served)
    else:
        made = _for_grpc_clients(upstream, addresses)
    if not served and _unknown(upstream, addresses):
        known = tuple(resource for resource in made.resources if resource.type_url != ENDPOINTS)
        return replace(made, resources=known)
    return replace(made, nearest_first=upstream.is_nearest_first)


def _for_envoys(
    upstream: Upstream,
    addresses: Addresses,
    dialect: Dialect,
    secrets: Secrets | None,
    recent: Recent[Kept] | None,
    *,
    remembered: bool,
) -> Compiled:
    if secrets is not None and (missing := [*_missing(upstream, secrets)]):
        raise NotServableError(missing)
    key = (dialect, upstream.name)
    kept = still_true(recent.get(key), upstream) if recent is not None else None
    try:
        cluster = cluster_resource(upstream, dialect) if kept is None else kept.cluster
        endpoints = encoded_resource(upstream, addresses, cluster, kept.endpoints if kept is not None else None)
        others = secret_resources(upstream, secrets.held if secrets is not None else {})
    except OverrideError as error:
        raise NotServableError(error.problems) from None
    except InvalidResourceError as error:
        given = upstream.envoy if isinstance(upstream.envoy, dict) and error.kind == "Cluster" else {}
        raise NotServableError(_refused(error, given)) from None
    host = _virtual_host(upstream) if kept is None else kept.virtual_host
    if endpoints is not None:
        others.append(endpoints[0])
        if recent is not None and remembered:
            recent.put(key, Kept(upstream, cluster, host, endpoints[1]), len(upstream.targets))
    return Compiled((cluster, *others), host)


def _virtual_host(upstream: Upstream) -> bytes | None:
    host = virtual_host(upstream)
    if host is None:
        return None
    if violations := check(host):
        raise NotServableError(_refused(InvalidResourceError("VirtualHost", upstream.name, violations)))
    encoded: bytes = host.SerializeToString(deterministic=True)
    return encoded


def _missing(upstream: Upstream, secrets: Secrets) -> Iterator[Problem]:
    for kind, name in held_secrets(upstream):
        if problem := secrets.problem((kind, name)):
            yield Problem(("tls", kind), problem)


def _for_grpc_clients(upstream: Upstream, addresses: Addresses) -> Compiled:
    try:
        resources, warnings = proxyless_resources(upstream, addresses)
    except (ProxylessError, InvalidResourceError) as error:
        raise NotServableError([Problem((), str(error))]) from None
    return Compiled(resources, warnings=warnings)


def _unknown(upstream: Upstream, addresses: Addresses) -> bool:
    """Whether every target is a name that never had an answer: an empty assignment would say that there are none.

    An Envoy that came back would drop the endpoints that it holds and that may be fine, only because this control plane
    was restarted while DNS is down. Without an assignment it keeps them; a new Envoy has none either way.
    """
    if upstream.resolve == "envoy" or not upstream.targets:
        return False
    return all(target.needs_resolving and not addresses.get(target.lookup) for target in upstream.targets)


def compile_gateway(gateway: Gateway, dialect: Dialect = Dialect.ADS) -> Compiled:
    """Translate and check a gateway, for Envoys. Raises NotServableError."""
    try:
        return Compiled((listener_resource(gateway, dialect),))
    except InvalidResourceError as error:
        raise NotServableError(_refused(error)) from None


def _refused(error: InvalidResourceError, given: Mapping[str, Any] | None = None) -> list[Problem]:
    """What Envoy would refuse, each where `given`, the definition's `envoy:`, says it; () where it does not."""
    return [
        Problem(_written(given or {}, path), f"Envoy would refuse the {error.kind}: {f'{path} {message}'.strip()}")
        for path, message in error.violations
    ]


def _written(envoy: Mapping[str, Any], path: str) -> Location:
    steps = (step.groups() for step in _STEP.finditer(path))
    place = written(envoy, tuple(int(index) if index else key or field for index, key, field in steps))
    return ("envoy", *place) if place else ()


def decoded(compiled: Compiled, place: Place) -> list[Any]:
    """The messages of what a definition became for those at `place`, for people: without secrets."""
    resources = (each for each in compiled.resources_at(place) if each.type_url != SECRET)
    bodies = [(each.type_url.rpartition("/")[2], each.body) for each in resources]
    if compiled.virtual_host is not None:
        bodies.append(("envoy.config.route.v3.VirtualHost", compiled.virtual_host))
    return [kind.FromString(body) for name, body in bodies if (kind := message_type(name)) is not None]
