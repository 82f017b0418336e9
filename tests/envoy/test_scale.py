"""A thousand upstreams of ten targets: they load, and one edit reaches Envoy. The times are printed, never judged."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

pytestmark = pytest.mark.envoy
UPSTREAMS, TARGETS, PER_FILE = 1000, 10, 10


def upstream(number: int, weight: int = 1) -> dict[str, Any]:
    host = f"127.{1 + number // 250}.{number % 250}"
    targets = [{"host": f"{host}.{target + 1}", "port": 9, "weight": weight} for target in range(TARGETS)]
    return {"name": f"upstream-{number:04}", "targets": targets, "algorithm": "weighted-round-robin"}


def test_a_thousand_upstreams(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with Rig(tmp_path) as rig:
        start = time.monotonic()
        for first in range(0, UPSTREAMS, PER_FILE):
            rig.write(f"file-{first:04}", upstreams=[upstream(first + n) for n in range(PER_FILE)])
        written = time.monotonic()
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster_manager.active_clusters") >= UPSTREAMS, 60, "all clusters")
        loaded = time.monotonic()
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster_manager.warming_clusters") == 0, 60, "warm clusters")
        last = f"upstream-{UPSTREAMS - 1:04}"
        rig.envoy.wait_until(lambda: len(rig.envoy.endpoints(last)) == TARGETS, 30, "the last upstream's targets")
        record_property(
            "measured", f"1,000 upstreams x 10 targets in 100 files, written to warm: {loaded - written:.2f} s"
        )

        before = len(rig.sent("ClusterLoadAssignment"))
        clusters = len(rig.sent("Cluster"))
        file = [upstream(UPSTREAMS - PER_FILE + n) for n in range(PER_FILE)]
        file[-1]["targets"][0]["weight"] = 7
        edit = time.monotonic()
        rig.write(f"file-{UPSTREAMS - PER_FILE:04}", upstreams=file)

        def seen() -> bool:
            status = json.loads(rig.envoy.admin(f"/clusters?format=json&filter={last}"))["cluster_statuses"]
            hosts = next(cluster["host_statuses"] for cluster in status if cluster["name"] == last)
            return any(host.get("weight") == 7 for host in hosts)

        rig.envoy.wait_until(seen, 30, "the edited weight")
        record_property(
            "measured", f"one target edited among them, until Envoy shows it: {1000 * (time.monotonic() - edit):.0f} ms"
        )
        sent = rig.sent("ClusterLoadAssignment")[before:]
        assert [event["resources"] for event in sent] == [1], "the change cost what it touched"
        assert len(rig.sent("Cluster")) == clusters
        assert start < written
