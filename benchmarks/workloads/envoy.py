"""`envoy`: a real Envoy among many upstreams, one target changes: from the commit to Envoy's acknowledgement.

Times are those of the server's own log (at level debug, which one Envoy hardly fills): committed, sent, acknowledged. What lies
between the last two is Envoy's, and the way there and back.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from benchmarks.catalogue import Api, host, name
from benchmarks.figures import Row, milliseconds
from benchmarks.load import LoadError
from benchmarks.served import PATIENCE, catalogue, stored
from benchmarks.sizes import Size
from benchmarks.usage import Meter, peak_memory
from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess, XdsServerProcess

APART: Final = 0.1
"""Seconds between two changes: more than the pause in which they would share a revision."""
TARGETS: Final = 10
WARMING: Final = 3
"""Changes that are made first and not counted."""


class _Plan(NamedTuple):
    upstreams: tuple[int, ...]
    changes: int


_PLANS: Final = {
    Size.SMOKE: _Plan((20,), 3),
    Size.SHORT: _Plan((1_000, 10_000), 100),
    Size.FULL: _Plan((1_000, 10_000), 1_000),
}


def envoy(size: Size) -> Iterator[Row]:
    """Each catalogue with one Envoy."""
    plan = _PLANS[size]
    for upstreams in plan.upstreams:
        with stored(catalogue(upstreams, TARGETS)) as store:
            debug = ("--log-level", "debug")
            with XdsServerProcess(store=store, args=debug, timeout=PATIENCE) as server:
                yield _measured(server, upstreams, plan.changes)


def _measured(server: XdsServerProcess, upstreams: int, changes: int) -> Row:
    begun = time.monotonic()
    with EnvoyProcess(Bootstrap(node_id="edge", xds_address=server.xds_address)) as running:
        running.wait_until(
            lambda: (
                running.stat("cluster_manager.active_clusters") > upstreams
                and not running.stat("cluster_manager.warming_clusters")
            ),
            PATIENCE,
            "all clusters, warm",
        )
        warm = time.monotonic() - begun
        api = Api(server)
        changed = upstreams // 2
        target = f"{host(changed, TARGETS // 2)}:9"
        seen = {what: len(_single(server, what)) for what in ("sent", "acknowledged")}
        commits = len(server.events("revision.committed"))
        asked, answered = [], []
        meter = Meter(server)
        for number in range(-WARMING, changes):
            if number == 0:
                meter.read()
            asked.append(time.time())
            written = api.weigh(name(changed), target, 2 + WARMING + number)
            answered.append(written.answered_at - written.asked_at)
            time.sleep(max(0.0, written.asked_at + APART - time.monotonic()))
        cpu = meter.read()
        count = WARMING + changes

        def acknowledged() -> list[dict[str, Any]]:
            return _single(server, "acknowledged")[seen["acknowledged"] :]

        server.wait_until(lambda: len(acknowledged()) >= count, 30, f"{count} acknowledgements")
        acks, sends = acknowledged(), _single(server, "sent")[seen["sent"] :]
        committed = server.events("revision.committed")[commits:]
        if not len(acks) == len(sends) == len(committed) == count or server.events("xds.rejected"):
            raise LoadError(f"{count} changes: {len(committed)} committed, {len(sends)} sent, {len(acks)} acknowledged")
        if [each["nonce"] for each in acks] != [each["nonce"] for each in sends]:
            raise LoadError("what was acknowledged is not what was sent")
    ends, begins, starts = _times(acks), _times(sends), _times(committed)
    return Row(
        "envoy",
        {"upstreams": upstreams, "targets": TARGETS},
        {
            **milliseconds(_between(starts, ends), "commit_to_ack"),
            **milliseconds(_between(begins, ends), "envoys_part"),
            **milliseconds(_between(asked, ends), "request_to_ack"),
            **milliseconds(answered[WARMING:], "http"),
            "server_cpu_ms_per_change": 1000 * cpu / changes,
            "server_peak_mib": peak_memory(server.pid) / 2**20,
            "warm_s": warm,
        },
    )


def _single(server: XdsServerProcess, what: str) -> list[dict[str, Any]]:
    """Events about one endpoint assignment: a change, and no first answer."""
    events = server.events(f"xds.{what}")
    return [each for each in events if each["type"] == "ClusterLoadAssignment" and each["resources"] == 1]


def _times(events: list[dict[str, Any]]) -> list[float]:
    return [datetime.fromisoformat(event["timestamp"]).timestamp() for event in events]


def _between(starts: list[float], ends: list[float]) -> list[float]:
    """Seconds of each that counts."""
    return [end - start for start, end in zip(starts, ends, strict=True)][WARMING:]
