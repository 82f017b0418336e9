"""Listeners for Envoys that take them from the control plane."""

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import Address, Name, Port


class Gateway(Definition):
    """A listener; without `upstream` it serves HTTP, all upstreams by host name. Envoy: `listener.v3.Listener`."""

    name: Name
    """Name of the listener, unique: 1 to 253 of a-z 0-9 . _ -. Required. Envoy: `Listener.name`."""
    address: Address = "0.0.0.0"
    """IP address that Envoy listens on. Default: 0.0.0.0 (every IPv4 address). Envoy: `Listener.address`."""
    port: Port
    """TCP port that Envoy listens on, 1 to 65535. Required. Envoy: `Listener.address`."""
    upstream: Name | None = None
    """Plain TCP to this one upstream. Default: HTTP to every upstream. Envoy: `tcp_proxy.cluster`."""
