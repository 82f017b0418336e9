"""What behaviour tests start: a real Envoy (process or container), the control plane, and backends.

For the tests of this project and of its users. Nothing here is imported by the control plane.
"""

from xds_server.envoy_binary import EnvoyNotFoundError, find_envoy
from xds_server.testing.backend import Backend, Backends
from xds_server.testing.container import EnvoyContainer
from xds_server.testing.load import Answer, Load, request, send
from xds_server.testing.process import EnvoyProcess
from xds_server.testing.server import XdsServerProcess

__all__ = [
    "Answer",
    "Backend",
    "Backends",
    "EnvoyContainer",
    "EnvoyNotFoundError",
    "EnvoyProcess",
    "Load",
    "XdsServerProcess",
    "find_envoy",
    "request",
    "send",
]
