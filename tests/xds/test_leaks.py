"""What streams leave behind when they end: nothing (P20, B30)."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from live import DELTA, SOTW, ask, read, request, serving
from scripted_client import listener, routes, web

from xds_server.xds import CLUSTER, ENDPOINTS, Limits, Snapshot
from xds_server.xds.stream import Stream
from xds_server.xds.unanswered import Unanswered
from xds_server.xds.watch import Watch

STREAMS = 1_000
AT_ONCE = 100
CDS = "/envoy.service.cluster.v3.ClusterDiscoveryService/"
METHODS = (SOTW, DELTA, CDS + "StreamClusters", CDS + "DeltaClusters")
MOST_GROWTH = 8 * 2**20
"""Bytes that three more rounds may add to the process: what the allocator and gRPC keep, and far less than the streams'
own state would be."""


async def _live(channel: Any, number: int) -> None:
    """A stream's life, one of several kinds."""
    method = METHODS[number % len(METHODS)]
    delta = "/Delta" in method
    kind = number // len(METHODS) % 6
    if kind == 0:  # never says a word
        channel.stream_stream(method)().cancel()
        return
    call = await ask(channel, method, node=f"node-{number % 7}")
    if kind == 1:  # gone before the answer
        call.cancel()
        return
    answer = await read(call, delta=delta)
    if kind == 2:  # holds much, says nothing, goes
        call.cancel()
        return
    more: dict[str, Any] = {"response_nonce": answer.nonce}
    if kind == 3:  # rejects
        more["error_detail"] = {"code": 13, "message": "no good"}
    await call.write(request(CLUSTER, delta=delta, **more))
    if method in (SOTW, DELTA):
        await call.write(request(ENDPOINTS, *(f"c{i}" for i in range(20)), delta=delta))
        await read(call, delta=delta)
    if kind == 4:  # breaks the protocol
        await call.write(b"\xff\xff\xff")
        await call.code()
    elif kind == 5:  # ends in order
        await call.done_writing()
        await call.code()
    else:
        call.cancel()


async def _round(server: Any, channel: Any) -> None:
    for start in range(0, STREAMS, AT_ONCE):
        await asyncio.gather(*(_live(channel, number) for number in range(start, start + AT_ONCE)))
    await _until(lambda: server.open_streams == 0)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


FEW = 8
"""gRPC holds on to the last call that was aborted, until the next."""


def _state() -> Counter[str]:
    """How many objects of a stream's state there are."""
    gc.collect()
    kinds = (Stream, Watch, Unanswered, grpc.aio.StreamStreamCall)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


def _resident() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.timeout(180)
async def test_P20_B30_a_thousand_streams_leave_memory_and_tasks_as_they_were(
    record_property: Callable[[str, object], None],
) -> None:
    async with serving(limits=Limits(new_streams_per_second=0)) as (server, channel):
        names = [f"c{i}" for i in range(20)]
        server.set_snapshot(Snapshot.of([*web(*names), listener("l"), routes("r", *names)]))
        for _ in range(2):  # what is made once is made
            await _round(server, channel)
        await _until(lambda: sum(_state().values()) <= FEW)
        tasks, resident = len(asyncio.all_tasks()), _resident()
        for _ in range(3):
            await _round(server, channel)
        await _until(lambda: len(asyncio.all_tasks()) <= tasks)
        await _until(lambda: sum(_state().values()) <= FEW)
        assert server.clients == ()
        assert server._members == {}
        assert len(server._memory) <= 7 * len(names), "of seven nodes, however often they come"
        growth = _resident() - resident
        record_property(
            "measured", f"3,000 streams opened and closed: {growth / 1024:.0f} KiB more memory, no task left"
        )
        assert growth < MOST_GROWTH
