"""One definition, compiled: the resources that it becomes, checked, or the reasons why it cannot be served."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from xds_server.upstreams.model import Gateway, Problem, Upstream
from xds_server.upstreams.model.base import Location
from xds_server.upstreams.translate import (
    Addresses,
    OverrideError,
    cluster_resource,
    endpoints_resource,
    listener_resource,
    virtual_host,
)
from xds_server.upstreams.translate.written import written
from xds_server.xds.resource import InvalidResourceError, Resource
from xds_server.xds.validation import check

_STEP: Final = re.compile(r"""\[(\d+)\]|\['([^']*)'\]|([^.\[\]]+)""")
"""One step of a violation's path: an index, the key of a map, or a field."""


class NotServableError(Exception):
    """A definition that Envoy would refuse. Problems are where its author wrote them; () is the definition itself."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a definition becomes."""

    resources: tuple[Resource, ...]
    virtual_host: bytes | None = None
    """The encoded virtual host that joins the shared route configuration; None for what is not routed by host name."""


def compile_upstream(upstream: Upstream, addresses: Addresses, *, served: bool = False) -> Compiled:
    """Translate and check an upstream. Raises NotServableError.

    `served`: an assignment of it was served already, so that leaving it out would not keep anything from being lost.
    """
    try:
        cluster = cluster_resource(upstream)
        endpoints = endpoints_resource(upstream, addresses, cluster)
    except OverrideError as error:
        raise NotServableError(error.problems) from None
    except InvalidResourceError as error:
        given = upstream.envoy if isinstance(upstream.envoy, dict) and error.kind == "Cluster" else {}
        raise NotServableError(_refused(error, given)) from None
    host = virtual_host(upstream)
    encoded = None
    if host is not None:
        if violations := check(host):
            raise NotServableError(_refused(InvalidResourceError("VirtualHost", upstream.name, violations)))
        encoded = host.SerializeToString(deterministic=True)
    if endpoints is None or (not served and _unknown(upstream, addresses)):
        return Compiled((cluster,), encoded)
    return Compiled((cluster, endpoints), encoded)


def _unknown(upstream: Upstream, addresses: Addresses) -> bool:
    """Whether every target is a name that never had an answer: an empty assignment would say that there are none.

    An Envoy that came back would drop the endpoints that it holds and that may be fine, only because this control plane
    was restarted while DNS is down. Without an assignment it keeps them; a new Envoy has none either way.
    """
    return bool(upstream.targets) and all(
        target.needs_resolving and not addresses.get(target.host) for target in upstream.targets
    )


def compile_gateway(gateway: Gateway) -> Compiled:
    """Translate and check a gateway. Raises NotServableError."""
    try:
        return Compiled((listener_resource(gateway),))
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
