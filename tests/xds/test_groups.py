"""Groups: a change of one does no work for another."""

from typing import Any

from live import ask, read, serving
from scripted_client import cluster, names_of

from xds_server.xds import CLUSTER, Snapshot
from xds_server.xds.sotw import SotwStream


async def test_a_change_of_one_group_does_no_work_for_another(monkeypatch: Any) -> None:
    advanced: list[int] = []
    really = SotwStream.advance

    def advance(stream: Any, *snapshots: Any) -> bool:
        advanced.append(stream.number)
        return really(stream, *snapshots)

    monkeypatch.setattr(SotwStream, "advance", advance)
    async with serving(group_of=lambda node: node.id.partition("-")[0]) as (server, channel):
        calls = {}
        for group in ("a", "b"):
            server.set_snapshot(Snapshot.of([cluster(group)]), group)
            for number in range(5):
                calls[group, number] = await ask(channel, node=f"{group}-{number}")
        for (group, _), call in calls.items():
            assert names_of(await read(call)) == [group]
        server.set_snapshot(Snapshot.of([cluster("a", 2)]), "a")
        assert len(advanced) == 5
        assert [names_of(await read(call)) for (group, _), call in calls.items() if group == "a"] == [["a"]] * 5
        calls["a", 0].cancel()
        while server.open_streams > 9:
            await _turn()
        server.set_snapshot(Snapshot.of([cluster("a", 3)]), "a")
        assert len(advanced) == 9, "one that left costs nothing either"


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0.001)


async def test_nodes_that_move_are_counted_where_they_are() -> None:
    where = {"n": "a"}
    async with serving(group_of=lambda node: where[node.id]) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]), "a")
        server.set_snapshot(Snapshot.of([cluster("b")]), "b")
        call = await ask(channel, node="n")
        await read(call)
        where["n"] = "b"
        server.regroup()
        assert "b" in names_of(await read(call))
        server.drop_groups()
        assert server.groups == ("b",)
        server.set_snapshot(Snapshot.of([cluster("b", 7)]), "b")
        assert names_of(await read(call)) == ["b"]
        assert server.snapshot("b") is not None
        assert server.snapshot("b").get(CLUSTER, "b") is not None  # type: ignore[union-attr]
