"""The load client counts what it should, against the real server; no time is judged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.catalogue import Api, host, name, upstream
from benchmarks.load import Load, LoadError
from benchmarks.served import Served
from benchmarks.usage import memory
from benchmarks.workloads.churn import RATE
from benchmarks.workloads.churn import TARGETS as CHURN_TARGETS
from benchmarks.workloads.churn import measured as churned
from benchmarks.workloads.one_change import measured
from xds_server.testing import XdsServerProcess

UPSTREAMS, STREAMS = 20, 6
NAMES = [name(number) for number in range(UPSTREAMS)]


@pytest.fixture(scope="module")
def server() -> Iterator[XdsServerProcess]:
    with XdsServerProcess() as running:
        api = Api(running)
        api.apply([upstream(number, CHURN_TARGETS) for number in range(UPSTREAMS)])
        api.close()
        yield running


@pytest.fixture
def load(server: XdsServerProcess) -> Iterator[Load]:
    with Load(server.xds_address) as running:
        yield running


def test_with_workers_every_stream_has_it_once_and_all_processes_are_added_up(server: XdsServerProcess) -> None:
    with XdsServerProcess(args=("--workers", "2")) as spread, Load(spread.xds_address) as load:
        api = Api(spread)
        api.apply([upstream(number, CHURN_TARGETS) for number in range(UPSTREAMS)])
        row = measured(Served(spread, api, load), UPSTREAMS, STREAMS, "delta", 2)
        assert row.figures["server_cpu_us_per_message"]
        assert memory(spread.pid) > 1.5 * memory(server.pid)
        api.close()


@pytest.mark.parametrize("variant", ["delta", "sotw"])
def test_every_stream_acknowledges_every_change(server: XdsServerProcess, load: Load, variant: str) -> None:
    row = measured(Served(server, Api(server), load), UPSTREAMS, STREAMS, variant, 2)
    assert row.figures["server_cpu_us_per_message"]
    assert not server.events("xds.rejected")


def test_churn_loses_nothing(server: XdsServerProcess, load: Load) -> None:
    row = churned(Served(server, Api(server), load), UPSTREAMS, STREAMS, 1, 1_000)
    assert (row.figures["overtaken"] or 0.0) < RATE * STREAMS


def test_a_change_that_does_not_arrive_is_an_error(load: Load) -> None:
    load.open(STREAMS, NAMES)
    load.expect(timeout=0.2)
    with pytest.raises(LoadError, match="6 streams did not get the change"):
        load.arrived()


def test_a_stream_that_lacks_endpoints_is_an_error(load: Load) -> None:
    with pytest.raises(LoadError, match="20 of 21 endpoints in the first answer"):
        load.open(STREAMS, [*NAMES, "nobody"])


def test_what_arrives_is_told_apart_by_its_number(server: XdsServerProcess, load: Load) -> None:
    load.open(STREAMS, NAMES)
    load.track(2, 100_002)
    api = Api(server)
    for number in (100_001, 100_002, 100_003):
        load.expect()
        api.weigh(name(3), f"{host(3, 1)}:9", number)
        load.arrived()
    state = load.state()
    assert [[number for number, _ in stream] for stream in state["arrived"]] == [[100_002, 100_003]] * 2
    assert state["states"] == 1


def test_a_server_that_ends_is_an_error() -> None:
    with XdsServerProcess() as server, Load(server.xds_address) as load:
        api = Api(server)
        api.apply([upstream(0, 1)])
        load.open(2, [name(0)])
        server.kill()
        load.expect(timeout=5)
        with pytest.raises(LoadError, match="the server closed the connection"):
            load.arrived()
