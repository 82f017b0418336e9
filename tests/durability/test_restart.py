"""A real server that is stopped and started again: it makes nothing anew, unless it was killed before that could be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xds_server.testing import XdsServerProcess

UPSTREAMS: list[dict[str, Any]] = [
    {"name": f"u{n}", "targets": [{"host": f"10.0.0.{n + 1}", "port": 80}]} for n in range(20)
]


def messages(server: XdsServerProcess) -> list[Any]:
    """What all upstreams became, for any Envoy."""
    return [server.api("GET", f"/v1/upstreams/{each['name']}/envoy") for each in UPSTREAMS]


def ready(server: XdsServerProcess) -> int:
    """How many definitions the last start did not make anew."""
    found: int = server.wait_for_event("store.loaded")["ready"]
    return found


def test_a_server_that_starts_again_makes_nothing_anew(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    with XdsServerProcess(store=store, args=["--log-level", "debug"]) as server:
        server.apply({"upstreams": UPSTREAMS})
        server.wait_until(lambda: all(each["resources"] for each in messages(server)), 10, "all upstreams")
        before = messages(server)
        assert server.stop() == 0
        server.start()
        assert ready(server) == len(UPSTREAMS)
        assert messages(server) == before
        server.apply({"upstreams": [{"name": "u0", "targets": []}]})
        server.wait_for_event("definition.applied")
        changed = messages(server)
        assert [old == new for old, new in zip(before, changed, strict=True)] == [False, *[True] * 19]
        server.kill()
        server.start()
        assert ready(server) in (len(UPSTREAMS) - 1, len(UPSTREAMS))
        server.wait_for_event("server.ready")
        assert messages(server) == changed
