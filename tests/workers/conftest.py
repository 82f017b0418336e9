"""A server with two workers."""

from collections.abc import Iterator
from typing import Any

import pytest

from xds_server.testing import XdsServerProcess


@pytest.fixture(scope="module")
def _server() -> Iterator[XdsServerProcess]:
    with XdsServerProcess(args=["--workers", "2"]) as server:
        yield server


@pytest.fixture
def server(_server: XdsServerProcess) -> XdsServerProcess:
    """It serves the upstreams ``shop`` and ``books``, and outlives the test."""
    shops = {"upstreams": [upstream("shop"), upstream("books")]}
    _server.api("POST", "/v1/apply?prune=true", shops)
    return _server


@pytest.fixture
def own_server() -> Iterator[XdsServerProcess]:
    """Another one that serves the same, for the test alone."""
    with XdsServerProcess(args=["--workers", "2"]) as server:
        server.apply({"upstreams": [upstream("shop"), upstream("books")]})
        yield server


def upstream(name: str, weight: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "targets": [{"host": "127.0.0.1", "port": 9, "weight": weight}], **more}
