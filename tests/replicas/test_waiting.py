"""Waiting for a revision with several replicas: for the Envoys of all, and never for less than is known to be all."""

from __future__ import annotations

import asyncio
import time

from catalogues import until
from scripted_client import cluster, endpoints
from shared_fleet import GONE, SharingFleet
from sqlalchemy import Engine

from xds_server.fleet import Progress


def publish(*replicas: SharingFleet, weight: int) -> int:
    """A revision that each of these serves; returns its number."""
    numbers = {replica.publish(endpoints("a", weight)) for replica in replicas}
    assert len(numbers) == 1
    return numbers.pop()


async def test_both_have_it_when_both_have_acknowledged(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    here, there = one.up_to_date("1"), other.up_to_date("2")
    revision = publish(one, other, weight=5)
    waits = [asyncio.create_task(replica.fleet.wait(revision)) for replica in replicas]
    here.accept(*here.sent())
    for replica in replicas:
        await until(lambda fleet=replica.fleet: fleet.progress(revision).counts[:2] == (2, 1))  # type: ignore[misc]
    progress = one.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged, progress.pending) == (2, 1, {"2": ("ClusterLoadAssignment",)})
    assert progress.seconds is None
    assert not progress.reached(51)
    assert not any(wait.done() for wait in waits)
    assert (await one.fleet.wait(revision, 50)).reached(50), "half of them is one"
    there.accept(*there.sent())
    for progress in await asyncio.gather(*waits):
        assert (progress.affected, progress.acknowledged, progress.pending) == (2, 2, {})
        assert progress.reached(100)
        assert progress.seconds is not None


async def test_none_is_done_while_another_replica_does_not_serve_it(
    replicas: tuple[SharingFleet, SharingFleet],
) -> None:
    one, other = replicas
    here, there = one.up_to_date("1"), other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"1", "2"})
    revision = one.publish(endpoints("a", 5))
    here.accept(*here.sent())
    progress = await one.fleet.wait(revision, within=0.5)
    assert (progress.affected, progress.acknowledged, progress.awaited) == (1, 1, ("other",))
    assert not progress.reached(0)
    wait = asyncio.create_task(one.fleet.wait(revision))
    assert other.publish(endpoints("a", 5)) == revision
    await until(lambda: one.fleet.progress(revision).affected == 2)
    assert not wait.done()
    there.accept(*there.sent())
    assert (await wait).reached(100)


async def test_nobody_affected_is_said_of_all_alone(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    revision = one.publish(endpoints("unheard-of"))
    progress = await one.fleet.wait(revision, within=0.5)
    assert (progress.affected, progress.awaited, progress.reached(100)) == (0, ("other",), False)
    other.publish(endpoints("unheard-of"))
    progress = await one.fleet.wait(revision)
    assert (progress.affected, progress.awaited, progress.reached(100)) == (0, (), True)


async def test_one_that_was_not_known_when_it_was_served_is_asked_for(engines: tuple[Engine, Engine]) -> None:
    """Nothing is taken from a look that is older than the revision."""
    one, other = SharingFleet(engines[0], "one"), SharingFleet(engines[1], "other")
    one.sharing._pause = 600
    await one.start()
    await until(lambda: one.fleet.ask() or not one.fleet.others.problem)
    await other.start()
    try:
        other.up_to_date("2")
        revision = one.publish(endpoints("unheard-of"))
        assert one.fleet.progress(revision).unknown == "they were not asked since it is served here"
        progress = await one.fleet.wait(revision, within=5)
        assert (progress.awaited, progress.reached(100)) == (("other",), False)
    finally:
        await one.stop()
        await other.stop()


async def test_a_rejection_elsewhere_is_told_with_its_words(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    here, there = one.up_to_date("1"), other.up_to_date("2")
    revision = one.publish(cluster("web-1", 7))
    assert other.publish(cluster("web-1", 7)) == revision
    here.accept(*here.sent())
    wait = asyncio.create_task(one.fleet.wait(revision))
    (answer,) = there.sent()
    there.ask("type.googleapis.com/envoy.config.cluster.v3.Cluster", nonce=answer.nonce, error="cluster 'web-1': no")
    progress = await wait
    assert (progress.affected, progress.acknowledged, progress.rejections) == (2, 1, 1)
    assert [(each.node, each.type, each.message, each.culprits) for each in progress.rejected] == [
        ("2", "Cluster", "cluster 'web-1': no", ("web-1",))
    ]
    assert not progress.reached(100)


async def test_a_replica_that_dies_is_waited_for_as_long_as_it_may_live(
    replicas: tuple[SharingFleet, SharingFleet],
) -> None:
    one, other = replicas
    here = one.up_to_date("1")
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"1", "2"})
    other.die()
    start = time.monotonic()
    revision = one.publish(endpoints("a", 5))
    here.accept(*here.sent())
    wait = asyncio.create_task(one.fleet.wait(revision))
    await until(lambda: one.fleet.progress(revision).awaited == ("other",))
    progress: Progress = await wait
    assert GONE / 4 < time.monotonic() - start < GONE + 2
    assert (progress.affected, progress.acknowledged, progress.reached(100)) == (1, 1, True)


async def test_a_newer_revision_that_came_at_once_stands_for_both(
    replicas: tuple[SharingFleet, SharingFleet],
) -> None:
    """As where a replica was cut off, and takes in two at once."""
    one, other = replicas
    here, there = one.up_to_date("1"), other.up_to_date("2")
    first = one.publish(endpoints("a", 5))
    here.accept(*here.sent())
    one.publish(endpoints("a", 6))
    next(other.revisions)
    other.publish(endpoints("a", 6))
    await until(lambda: one.fleet.progress(first).affected == 2)
    there.accept(*there.sent())
    assert (await one.fleet.wait(first)).reached(100)


async def test_one_that_has_forgotten_it_is_not_spoken_for(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    revision = publish(one, other, weight=5)
    other.fleet._rollouts.clear()
    other.fleet._forgotten = revision
    other.sharing._telling.anew()
    one.sharing._parts.clear()
    one.sharing._heard.clear()
    await until(lambda: one.fleet.others.unknown(revision) == "it is too long ago that it was served by other")
    assert not (await one.fleet.wait(revision, within=0.1)).reached(0)
