"""The manager's side on real workers, in this process: what is asked for is served, what hangs or cannot start is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from catalogues import until
from definitions import change, upstream
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from live import SOTW, ask, read
from spread_nodes import SpreadNode
from structlog.testing import capture_logs

from xds_server.delivery.audience import EVERYONE
from xds_server.delivery.in_force import Definition, Key
from xds_server.delivery.publisher import Publisher
from xds_server.fleet import Commit
from xds_server.workers import backoff, manager, process, seat
from xds_server.workers.manager import Workers, WorkersError
from xds_server.workers.mirror import Mirror
from xds_server.workers.options import Options
from xds_server.xds import CLUSTER, Event


def options(number: int, address: str) -> Options:
    return Options(number, address, "test", 0, 0, 0.5, "", "", "", ("{id}",), True, "127.0.0.1:0", "json", "info")


@asynccontextmanager
async def running(
    count: int = 1, tell: Callable[[Event, int], None] = lambda *_: None, **more: Any
) -> AsyncIterator[tuple[str, Publisher, Mirror]]:
    """Workers that are started as the composition root would, on a publisher that serves one upstream. `more`: of that."""
    mirror = Mirror()
    publisher = Publisher(mirror=mirror, **more)
    workers = Workers(count, mirror, publisher, options, tell)
    try:
        workers.begin()
        await publisher.apply(change(upstream("shop", "10.0.0.1")), Commit(1, None))
        port = await workers.start("127.0.0.1:0")
        yield f"127.0.0.1:{port}", publisher, mirror
        await workers.stop()
    finally:
        await workers.end()


def pids(logs: list[Any]) -> list[int]:
    return [each["pid"] for each in logs if each["event"] == "worker.started"]


async def test_a_worker_that_hangs_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat, "SILENT", 4)
    with capture_logs() as logs:
        async with running() as (_, publisher, mirror):
            await until(lambda: mirror.serves and publisher.fleet.delivered == 1)
            assert publisher.is_serving
            os.kill(pids(logs)[0], signal.SIGSTOP)
            await until(lambda: not publisher.is_serving)
            await until(lambda: mirror.serves and publisher.fleet.delivered == 1)
            assert len(pids(logs)) == 2
            assert publisher.is_serving
    assert not publisher.is_serving
    (died,) = (each for each in logs if each["event"] == "worker.died")
    assert died["problem"] == "it hung: it said nothing for 4 s, and was killed"


async def test_workers_that_cannot_start_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PROGRAM", "raise SystemExit(3)")
    with pytest.raises(WorkersError, match="a worker process cannot be started: ended with exit status 3"):
        async with running(2):
            pass


async def test_where_no_process_can_be_had_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spawn() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process.WorkerProcess, "spawn", spawn)
    with pytest.raises(WorkersError, match=r"no process can be started: .*temporarily unavailable"):
        async with running(2):
            pass


def test_one_that_hangs_ends_all_the_same_after_its_manager() -> None:
    hangs = "import time; from xds_server.workers.worker import end_with_parent; end_with_parent(0.1); print(); time.sleep(60)"
    starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hangs!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE) as manager:
        assert manager.stdout is not None
        assert manager.stdout.readline(), "it hangs by now"
        manager.kill()
        assert manager.stdout.read() == b"", "and nobody holds this any more"


async def test_a_group_is_served_while_a_worker_has_clients_in_it() -> None:
    mine = upstream("mine", "10.0.0.3", nodes={"clusters": ["edge"]})
    async with running() as (address, publisher, mirror):
        node = SpreadNode(address, "n", cluster="edge")
        try:
            await publisher.apply(change(mine), Commit(2, None))
            await until(lambda: {*node.held[CLUSTER]} == {"shop", "mine"})
            assert len(mirror.wanted) == 2
            await publisher.apply(change(remove=("mine",)), Commit(3, None))
            await until(lambda: {*node.held[CLUSTER]} == {"shop"})
            await until(lambda: mirror.wanted == {EVERYONE.name})
            await until(lambda: publisher.server.groups == (EVERYONE.name,))
        finally:
            node.close()


async def test_what_a_refused_cluster_was_before_is_asked_of_the_history() -> None:
    asked: list[Key] = []

    async def history(key: Key) -> list[Definition]:
        asked.append(key)
        return [change(upstream("shop", "10.0.0.1", connect_timeout="7s")).upstreams["shop"]]

    told: list[tuple[str, int]] = []
    async with (
        running(tell=lambda event, worker: told.append((event.kind, worker)), history=history) as (address, _, _mirror),
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = await ask(channel, SOTW, version_info="of a control plane that forgot")
        refused = await read(call)
        nack = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, response_nonce=refused.nonce, version_info="of before")
        nack.error_detail.message = "'shop' is no good"
        await call.write(nack.SerializeToString())
        (older,) = (cluster_pb2.Cluster.FromString(each.value) for each in (await read(call)).resources)
        assert (older.name, older.connect_timeout.seconds) == ("shop", 7)
        assert asked == [("upstream", "shop")]
        await until(lambda: ("rejected", 1) in told and ("quarantined", 1) in told)


async def test_it_stops_at_once_while_a_worker_is_to_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 60)
    monkeypatch.setattr(manager, "GRACE", 60)
    with capture_logs() as logs:
        async with running(2) as (_, publisher, mirror):
            await until(lambda: mirror.serves)
            os.kill(pids(logs)[0], signal.SIGKILL)
            await until(lambda: any(each["event"] == "worker.died" for each in logs))
            assert not publisher.is_serving
            began = time.monotonic()
        assert time.monotonic() - began < 30
    assert len(pids(logs)) == 2


async def test_it_is_ready_once_workers_have_what_they_are_to_serve() -> None:
    mirror = Mirror()
    publisher = Publisher(mirror=mirror)
    workers = Workers(1, mirror, publisher, options, lambda *_: None)
    with capture_logs() as logs:
        try:
            workers.begin()
            await workers.start("127.0.0.1:0")
            assert not publisher.is_serving
            os.kill(pids(logs)[0], signal.SIGSTOP)
            await publisher.apply(change(upstream("shop", "10.0.0.1")), Commit(1, None))
            assert not publisher.is_serving, "the worker was told nothing yet"
            os.kill(pids(logs)[0], signal.SIGCONT)
            await until(lambda: publisher.is_serving)
        finally:
            await workers.end()


async def test_a_worker_that_cannot_be_told_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        async with running() as (_, publisher, mirror):
            await until(lambda: mirror.serves and publisher.fleet.delivered == 1)

            def fail(*_: Any) -> bytes:
                monkeypatch.undo()
                raise ValueError("too much to be encoded")

            monkeypatch.setattr(mirror, "step", fail)
            await publisher.apply(change(upstream("shop", "10.0.0.2")), Commit(2, None))
            await until(lambda: mirror.serves and publisher.fleet.delivered == 2)
    (died,) = (each for each in logs if each["event"] == "worker.died")
    assert died["problem"] == "it cannot be told what to serve: too much to be encoded"


async def test_where_ports_cannot_be_shared_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(WorkersError, match="needs Linux"):
        async with running(2):
            pass


async def test_a_revision_is_delivered_once_every_worker_serves_it() -> None:
    with capture_logs() as logs:
        async with running(2) as (_, publisher, _mirror):
            fleet = publisher.fleet
            await until(lambda: fleet.delivered == 1)
            stopped = pids(logs)[1]
            os.kill(stopped, signal.SIGSTOP)
            try:
                await publisher.apply(change(upstream("shop", "10.0.0.2")), Commit(2, None))
                await until(lambda: fleet.progress(2).awaited == ("worker 2",))
                assert (fleet.newest, fleet.delivered) == (2, 1), "other replicas are told of the latter"
                assert not (await fleet.wait(2, within=0.1)).reached(100)
            finally:
                os.kill(stopped, signal.SIGCONT)
            assert (await fleet.wait(2, within=20)).reached(100)
            assert fleet.delivered == 2
