"""A server with two workers."""

from collections.abc import Iterator

import pytest
from spread_nodes import ready, upstream

from xds_server.testing import XdsServerProcess


@pytest.fixture(scope="module")
def _server() -> Iterator[XdsServerProcess]:
    with XdsServerProcess(args=["--workers", "2"]) as server:
        yield server


@pytest.fixture
def server(_server: XdsServerProcess) -> XdsServerProcess:
    """It serves the upstreams ``shop`` and ``books``, with both workers, and outlives the test."""
    _server.wait_until(lambda: ready(_server), 30, "readiness")
    shops = {"upstreams": [upstream("shop"), upstream("books")]}
    _server.api("POST", "/v1/apply?prune=true", shops)
    return _server


@pytest.fixture
def own_server() -> Iterator[XdsServerProcess]:
    """Another one that serves the same, for the test alone."""
    with XdsServerProcess(args=["--workers", "2"]) as server:
        server.apply({"upstreams": [upstream("shop"), upstream("books")]})
        yield server
