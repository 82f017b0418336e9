"""The Envoys that tests run: the one that the project is locked to, and older ones, each in a directory of its own.

`make old-envoys` installs the older ones, which `make test` and `.ci/run` do first.
"""

import sys
from pathlib import Path

import pytest

from xds_server.testing import find_envoy

NEWEST = "1.40.0"
"""The version that pyproject.toml locks."""
OLD = ("1.36.4", "1.38.3")
"""The versions of requirements/envoy-*.txt."""


def envoy_binary(version: str) -> Path:
    """The Envoy of that version. Skips the test when it is not installed."""
    if version == NEWEST:
        return find_envoy()
    # Beside what is installed: the virtual environment is the one directory that the project's set-up writes to.
    binary = Path(sys.prefix, "envoys", version, "envoy", "_bin", "envoy")
    if not binary.exists():
        pytest.skip(f"Envoy {version} is not installed: make old-envoys")
    return binary
