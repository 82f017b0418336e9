"""What behaviour tests start: a real Envoy and the control plane (process or container), and backends.

For the tests of this project and of its users. Nothing here is imported by the control plane.
"""

from xds_server.envoy_binary import EnvoyNotFoundError, find_envoy
from xds_server.testing.api import ApiError
from xds_server.testing.backend import Backend, Backends
from xds_server.testing.container import EnvoyContainer
from xds_server.testing.load import Answer, Load, assert_shares, request, send
from xds_server.testing.process import EnvoyProcess
from xds_server.testing.server import XdsServerProcess
from xds_server.testing.server_container import XdsServerContainer

__all__ = [
    "Answer",
    "ApiError",
    "Backend",
    "Backends",
    "EnvoyContainer",
    "EnvoyNotFoundError",
    "EnvoyProcess",
    "Load",
    "XdsServerContainer",
    "XdsServerProcess",
    "assert_shares",
    "find_envoy",
    "request",
    "send",
]
