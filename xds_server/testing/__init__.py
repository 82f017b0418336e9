"""What behaviour tests start: a real Envoy and the control plane (process or container), and backends.

For the tests of this project and of its users. Nothing here is imported by the control plane. Names are imported when they
are first used, as pytest imports this package for its fixtures in suites that need nothing of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_MODULES: Final = {
    "xds_server.envoy_binary": ("EnvoyNotFoundError", "find_envoy"),
    "xds_server.testing.api": ("ApiError",),
    "xds_server.testing.backend": ("Backend", "Backends"),
    "xds_server.testing.container": ("EnvoyContainer",),
    "xds_server.testing.load": ("Answer", "Load", "assert_shares", "request", "send"),
    "xds_server.testing.process": ("EnvoyProcess",),
    "xds_server.testing.server": ("XdsServerProcess",),
    "xds_server.testing.server_container": ("XdsServerContainer",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
