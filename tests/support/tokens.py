"""Tokens of a running control plane, made by its command line."""

from __future__ import annotations

import subprocess
import sys

from xds_server.testing import XdsServerProcess


def token(server: XdsServerProcess, *arguments: str) -> str:
    """What `xds-server token` prints."""
    command = [sys.executable, "-m", "xds_server", "token", *arguments, "--store", server.store]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
