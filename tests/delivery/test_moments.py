"""What is served changes when its time has come, without an edit: deadlines of drains, and the end of overlaps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asking import NODES, arrives, served
from definitions import change, upstream
from envoy.config.endpoint.v3 import endpoint_pb2
from structlog.testing import capture_logs

from xds_server.delivery import moments
from xds_server.delivery.moments import Clock
from xds_server.delivery.publisher import Publisher
from xds_server.resolvers import Answer, Question
from xds_server.upstreams.translate import Dialect
from xds_server.xds import ENDPOINTS

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACTIVE: dict[str, Any] = {"health_checks": {"active": {"timeout": "500ms"}}}
ADS = NODES[Dialect.ADS]


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: NOON + timedelta(seconds=self.seconds), lambda: self.seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    # The clock is looked at again after 10 ms, as a moved one cannot wake anybody.
    monkeypatch.setattr(moments.Moments, "_wait", lambda *_: 0.01)
    return Time()


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.moments.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def addresses(publisher: Publisher, dialect: Dialect = Dialect.ADS) -> set[str]:
    snapshot = served(publisher, NODES[dialect])
    resource = snapshot and snapshot.get(ENDPOINTS, "a")
    assert resource is not None
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
    hosts = [host for group in assignment.endpoints for host in group.lb_endpoints]
    return {host.endpoint.address.socket_address.address for host in hosts}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def draining(*seconds: float) -> dict[str, Any]:
    deadlines = [(NOON + timedelta(seconds=s)).isoformat() for s in seconds]
    drains = [
        {"host": f"10.0.1.{n}", "port": 80, "state": "draining", "drain_until": deadline}
        for n, deadline in enumerate(deadlines)
    ]
    return {"name": "a", "targets": [{"host": "10.0.0.1", "port": 80}, *drains]}


async def test_a_drain_ends_at_its_deadline(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(draining(5, 9)))
    async with running(publisher):
        assert addresses(publisher) == {"10.0.0.1", "10.0.1.0", "10.0.1.1"}
        time.seconds = 5
        await until(lambda: addresses(publisher) == {"10.0.0.1", "10.0.1.1"})
        time.seconds = 9
        await until(lambda: addresses(publisher) == {"10.0.0.1"})


async def test_an_edit_moves_a_deadline(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(draining(5)))
    await publisher.apply(change(draining(50)))
    async with running(publisher):
        time.seconds = 6
        await asyncio.sleep(0.05)
        assert addresses(publisher) == {"10.0.0.1", "10.0.1.0"}
        await publisher.apply(change(draining(1)))
        assert addresses(publisher) == {"10.0.0.1"}, "a time that has passed means disabled"
    assert publisher.moments._deadlines.next is None


async def test_the_same_time_gives_the_same_bytes_after_a_restart(time: Time) -> None:
    one = Publisher(clock=time.clock)
    await one.apply(change(draining(5, 9)))
    async with running(one):
        time.seconds = 7
        await until(lambda: addresses(one) == {"10.0.0.1", "10.0.1.1"})
    two = Publisher(clock=time.clock)
    await two.apply(change(draining(5, 9)))
    first, second = (served(publisher, ADS) for publisher in (one, two))
    assert first is not None
    assert second is not None
    assert first.version(ENDPOINTS) == second.version(ENDPOINTS)


async def test_a_dialect_that_comes_later_sees_the_same_moment(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(draining(5)))
    async with running(publisher):
        time.seconds = 5
        await until(lambda: addresses(publisher) == {"10.0.0.1"})
        await arrives(publisher, ADS, NODES[Dialect.PER_TYPE])
        assert addresses(publisher, Dialect.PER_TYPE) == {"10.0.0.1"}


async def test_replaced_targets_stay_for_an_overlap_in_every_dialect(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(upstream("a", "10.0.0.1", **ACTIVE)))
    await arrives(publisher, ADS, NODES[Dialect.PER_TYPE])
    both = {"10.0.0.1", "10.0.0.2"}
    with capture_logs() as logs:
        async with running(publisher):
            time.seconds = 100
            await publisher.apply(change(upstream("a", "10.0.0.2", **ACTIVE)))
            assert addresses(publisher) == addresses(publisher, Dialect.PER_TYPE) == both
            await arrives(publisher, NODES[Dialect.PER_TYPE_DELTA])
            assert addresses(publisher, Dialect.PER_TYPE_DELTA) == both
            time.seconds = 101.5
            await until(lambda: addresses(publisher) == {"10.0.0.2"})
            assert (
                addresses(publisher, Dialect.PER_TYPE) == addresses(publisher, Dialect.PER_TYPE_DELTA) == {"10.0.0.2"}
            )
    told = [(log["event"], log["replaced_targets"]) for log in logs if log["event"].startswith("overlap")]
    assert told == [("overlap.serving", "10.0.0.1:80"), ("overlap.ended", "")]


async def test_an_overlap_lasts_until_envoys_that_poll_have_seen_it(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(upstream("a", "10.0.0.1", **ACTIVE)))
    await arrives(publisher, NODES[Dialect.REST])
    async with running(publisher):
        time.seconds = 100
        await publisher.apply(change(upstream("a", "10.0.0.2", **ACTIVE)))
        time.seconds = 111.9
        await asyncio.sleep(0.05)
        assert addresses(publisher, Dialect.REST) == {"10.0.0.1", "10.0.0.2"}
        time.seconds = 112
        await until(lambda: addresses(publisher, Dialect.REST) == {"10.0.0.2"})


async def test_a_refused_edit_changes_nothing_of_an_overlap(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(upstream("a", "10.0.0.1", **ACTIVE)))
    time.seconds = 100
    await publisher.apply(change(upstream("a", "10.0.0.2", **ACTIVE)))
    await publisher.apply(change(upstream("a", "10.0.0.3", envoy={"connect_timeout": "0s"}, **ACTIVE)))
    assert addresses(publisher) == {"10.0.0.1", "10.0.0.2"}
    async with running(publisher):
        time.seconds = 101.5
        await until(lambda: addresses(publisher) == {"10.0.0.2"})


async def test_a_removed_upstream_is_forgotten(time: Time) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(upstream("a", "10.0.0.1", **ACTIVE)))
    time.seconds = 100
    await publisher.apply(change(upstream("a", "10.0.0.2", **ACTIVE)))
    await publisher.apply(change(remove=("a",)))
    snapshot = served(publisher, ADS)
    assert snapshot is not None
    assert snapshot.get(ENDPOINTS, "a") is None
    assert publisher.moments._histories == {}
    assert publisher.moments._overlaps.next is None
    await publisher.apply(change(upstream("a", "10.0.0.3", **ACTIVE)))
    assert addresses(publisher) == {"10.0.0.3"}, "what comes back begins anew"


async def test_addresses_that_all_change_stay_for_an_overlap(time: Time) -> None:
    answers = [Answer(("10.0.0.1",)), Answer(("10.0.0.2",))]

    async def lookup(question: Question) -> Answer:
        return answers[0]

    publisher = Publisher(lookup, clock=time.clock)
    at_once = {"linger": "0s", "min_ttl": "100ms"}
    await publisher.apply(change(upstream("a", "db.example", dns=at_once, **ACTIVE)))
    answers.pop(0)
    time.seconds = 100
    refreshing = asyncio.create_task(publisher.resolver.run())
    await until(lambda: addresses(publisher) == {"10.0.0.1", "10.0.0.2"})
    refreshing.cancel()
    async with running(publisher):
        time.seconds = 101.5
        await until(lambda: addresses(publisher) == {"10.0.0.2"})


async def test_what_fails_when_due_is_tried_again_and_ends_nothing(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(clock=time.clock)
    await publisher.apply(change(draining(5)))
    real, failures = publisher.moments._on_due, [1]

    async def fails_once(keys: Any) -> None:
        if failures:
            failures.pop()
            raise RuntimeError("never thought of")
        await real(keys)

    monkeypatch.setattr(publisher.moments, "_on_due", fails_once)
    with capture_logs() as logs:
        async with running(publisher):
            time.seconds = 5
            await until(lambda: len(logs) == 2)
            time.seconds = 5 + moments.RETRY
            await until(lambda: addresses(publisher) == {"10.0.0.1"})
    assert [log["event"] for log in logs] == ["drain.ended", "delivery.due_failed"]


def test_one_timer_waits_for_what_is_next() -> None:
    async def never(_: object) -> None:
        raise AssertionError

    waiting = moments.Moments(never)
    assert waiting._wait(0, 0) is None, "nothing is ahead, so nothing wakes it but a change"
    waiting._deadlines.put(("upstream", "a"), 1000)
    assert waiting._wait(0, 0) == moments.LONGEST_SLEEP, "the wall clock may be set"
    assert waiting._wait(0, 999) == 1
    waiting._overlaps.put(("upstream", "b"), 2.5)
    assert waiting._wait(2, 0) == 0.5
    assert waiting._wait(9, 0) == 0
