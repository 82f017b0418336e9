"""Who waits for a revision: until when, and what it is told."""

import asyncio
from typing import Any

import pytest
from joined import JoinedFleet, up_to_date
from scripted_client import endpoints

from xds_server.fleet import Commit


async def waiting(fleet: JoinedFleet, revision: int, **how: Any) -> asyncio.Task[Any]:
    """A task that waits already."""
    task = asyncio.create_task(fleet.fleet.wait(revision, **how))
    await asyncio.sleep(0)
    return task


async def done(task: asyncio.Task[Any]) -> Any:
    async with asyncio.timeout(5):
        return await task


async def test_waiting_ends_with_the_share_that_was_asked_for(fleet: JoinedFleet) -> None:
    clients = [up_to_date(fleet, str(number)) for number in range(4)]
    revision = fleet.publish(endpoints("a", 5))
    half, all_of_them = await waiting(fleet, revision, share=50), await waiting(fleet, revision)
    for number, client in enumerate(clients):
        assert half.done() == (number > 1)
        client.accept(*client.sent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    progress = await done(half)
    assert progress.reached(50)
    assert (await done(all_of_them)).reached(100)


async def test_waiting_for_nobody_is_over_at_once(fleet: JoinedFleet) -> None:
    revision = fleet.publish(endpoints("unheard-of"))
    progress = await done(await waiting(fleet, revision))
    assert progress.affected == 0
    assert progress.reached(100)


async def test_waiting_ends_when_it_is_in_vain(fleet: JoinedFleet) -> None:
    clients = [up_to_date(fleet, str(number)) for number in range(4)]
    revision = fleet.publish(endpoints("a", 5))
    most, half = await waiting(fleet, revision, share=75), await waiting(fleet, revision, share=50)
    for client in clients[:2]:
        client.reject(*client.sent())
    progress = await done(most)
    assert not progress.reached(75)
    assert (progress.rejections, len(progress.pending)) == (2, 2)
    assert not half.done()
    clients[2].accept(*clients[2].sent())
    clients[3].leave()
    assert not (await done(half)).reached(50), "one of three"


async def test_waiting_ends_with_its_time(fleet: JoinedFleet) -> None:
    up_to_date(fleet)
    revision = fleet.publish(endpoints("a", 5))
    for within in (0, 0.01):
        progress = await done(await waiting(fleet, revision, within=within))
        assert not progress.reached(1)
        assert list(progress.pending) == ["n"]
        assert progress.reached(0)


async def test_a_revision_that_is_not_served_yet_is_waited_for(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    assert not (await done(await waiting(fleet, 1, within=0.01))).published
    task = await waiting(fleet, 1)
    fleet.publish(endpoints("a", 5))
    here.accept(*here.sent())
    assert (await done(task)).acknowledged == 1


async def test_waiting_goes_on_with_a_revision_that_is_served_again(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    fleet.publish(endpoints("a", 5))
    task = await waiting(fleet, 1)
    with fleet.fleet.published(Commit(1, None)):
        snapshot = fleet.server.snapshot()
        assert snapshot is not None
        fleet.server.set_snapshot(snapshot.change([endpoints("a", 6)]))
    here.accept(*here.sent())
    assert (await done(task)).reached(100)


@pytest.mark.parametrize("how", [{"share": 101}, {"share": -1}, {"share": float("nan")}, {"within": -1}])
async def test_nonsense_is_refused(fleet: JoinedFleet, how: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"not {next(iter(how.values())):g}"):
        await fleet.fleet.wait(1, **how)
