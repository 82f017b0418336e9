"""A running control plane without files, and its HTTP API."""

from collections.abc import Iterator

import httpx
import pytest

from xds_server.testing import XdsServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[XdsServerProcess]:
    """Of a whole module: each test has upstreams of its own names."""
    with XdsServerProcess() as server:
        yield server


@pytest.fixture(scope="module")
def api(server: XdsServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.http_address}", timeout=30) as api:
        yield api
