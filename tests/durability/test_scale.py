"""Thousands of upstreams in SQLite: starting, and what one change costs from its request to Envoy's acknowledgement.

1,000 upstreams of 10 targets and 100 changes here; `make soak` takes 10,000 and 1,000 (UPSTREAMS, PATCHES). Times are printed,
never judged; that a change touches only what it is about is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess, XdsServerProcess

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(0)]
UPSTREAMS = int(os.environ.get("UPSTREAMS", "1000"))
PATCHES = int(os.environ.get("PATCHES", "100"))
TARGETS = 10
APART = 0.06
"""Seconds between two changes: more than the pause in which they would share a revision."""


def upstream(number: int) -> dict[str, Any]:
    host = f"127.{1 + number // 250}.{number % 250}"
    targets = [{"host": f"{host}.{target + 1}", "port": 9} for target in range(TARGETS)]
    return {"name": f"upstream-{number:05}", "targets": targets, "algorithm": "weighted-round-robin"}


class Tail:
    """The log of a server from now on, each line read once."""

    def __init__(self, server: XdsServerProcess) -> None:
        self._server, self._at = server, len(server._lines)

    def next(self, name: str, type: str) -> dict[str, Any]:
        """The next such event about a type of resource."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            lines = self._server._lines[self._at :]
            self._at += len(lines)
            events = [json.loads(line) for line in lines if line.startswith("{")]
            found.extend(each for each in events if each["event"] == name and each.get("type") == type)
            return bool(found)

        self._server.wait_until(seen, 60, f"{name} of {type}")
        return found[-1]


def test_a_change_among_many(record_property: Callable[[str, object], None]) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(XdsServerProcess(args=["--log-level", "debug"], timeout=600))
        http = stack.enter_context(httpx.Client(base_url=f"http://{server.http_address}", timeout=600))
        start = time.monotonic()
        applied = http.post("/v1/apply", json={"upstreams": [upstream(n) for n in range(UPSTREAMS)]})
        assert applied.status_code == 200, applied.text[:300]
        stored = time.monotonic() - start
        start = time.monotonic()
        server.restart()
        started = time.monotonic() - start
        http = stack.enter_context(httpx.Client(base_url=f"http://{server.http_address}", timeout=600))
        start = time.monotonic()
        envoy = stack.enter_context(EnvoyProcess(Bootstrap(node_id="edge", xds_address=server.xds_address)))
        envoy.wait_until(lambda: envoy.stat("cluster_manager.active_clusters") > UPSTREAMS, 600, "all clusters")
        envoy.wait_until(lambda: envoy.stat("cluster_manager.warming_clusters") == 0, 600, "warm clusters")
        warm = time.monotonic() - start
        many = f"{UPSTREAMS:,} upstreams x {TARGETS} targets in SQLite"
        record_property(
            "measured",
            f"{many}: applied in {stored:.1f} s; restart until served {started:.1f} s; a new Envoy warm in {warm:.1f} s",
        )
        answered, acknowledged = [], []
        target = (
            f"/v1/upstreams/upstream-{UPSTREAMS // 2:05}/targets/{upstream(UPSTREAMS // 2)['targets'][3]['host']}:9"
        )
        tail = Tail(server)
        for number in range(PATCHES):
            begun, since = time.time(), time.monotonic()
            made = http.patch(target, json={"weight": 2 + number % 2})
            answered.append(time.monotonic() - since)
            assert made.status_code == 200, made.text
            event = tail.next("xds.acknowledged", "ClusterLoadAssignment")
            acknowledged.append(datetime.fromisoformat(event["timestamp"]).timestamp() - begun)
            assert event["resources"] == 1, "a change costs what it touches"
            time.sleep(max(0.0, since + APART - time.monotonic()))
        sent = [event for event in server.events("xds.sent") if event["type"] == "Cluster"]
        assert len(sent) == 1, "all clusters, once"
        record_property(
            "measured",
            f"{many}, one target changed {PATCHES:,} times: request to Envoy's ACK {quantiles(acknowledged)}; to the HTTP "
            f"answer, after the disk, {quantiles(answered)}",
        )


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    median, last = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {1000 * median:.0f} ms, p99 {1000 * last:.0f} ms"
