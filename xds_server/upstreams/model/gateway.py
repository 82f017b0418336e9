"""Listeners for Envoys that take them from the control plane."""

from collections.abc import Iterator
from typing import Self

from pydantic import ConfigDict, model_validator

from xds_server.upstreams.model.base import Definition, Problem, reject
from xds_server.upstreams.model.scalars import Address, Duration, Name, Port, PositiveCount


class Gateway(Definition):
    """A listener; without `upstream` it serves HTTP with WebSockets, all upstreams by host name.

    Envoy: `listener.v3.Listener`.
    """

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"idle_timeout": ["upstream"], "connect_attempts": ["upstream"]}}
    )

    name: Name
    """Name of the listener, unique: 1 to 253 of a-z 0-9 . _ -. Required. Envoy: `Listener.name`."""
    address: Address = "0.0.0.0"
    """IP address that Envoy listens on. Default: 0.0.0.0 (every IPv4 address). Envoy: `Listener.address`."""
    port: Port
    """TCP port that Envoy listens on, 1 to 65535. Required. Envoy: `Listener.address`."""
    upstream: Name | None = None
    """Plain TCP to this one upstream. Default: HTTP to every upstream. Envoy: `tcp_proxy.cluster`."""
    idle_timeout: Duration | None = None
    """Only with `upstream`: how long a connection may be silent; 0s is for ever. Default: 1h.
    Envoy: `tcp_proxy.idle_timeout`."""
    connect_attempts: PositiveCount | None = None
    """Only with `upstream`: targets that are tried until one takes the connection. From 1. Default: 3.
    Envoy: `tcp_proxy.max_connect_attempts`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        reject(_contradictions(self))
        return self


def _contradictions(gateway: Gateway) -> Iterator[Problem]:
    for field in ("idle_timeout", "connect_attempts"):
        if gateway.upstream is None and getattr(gateway, field) is not None:
            message = f"{field} is about plain TCP: an HTTP gateway takes it from each upstream (idle_timeout, retries)"
            yield Problem((field,), message, (("upstream",),))
