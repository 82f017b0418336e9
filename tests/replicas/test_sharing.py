"""Replicas on a real PostgreSQL tell each other of their Envoys: all of them, only what changed, and only while they live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from catalogues import until
from postgres import Postgres
from scripted_client import cluster, endpoints
from shared_fleet import GONE, SharingFleet, statements
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from xds_server.fleet import NodeStatus, Part, Progress, telling
from xds_server.replicas.rows import exchange
from xds_server.xds import CLUSTER


def count(engine: Engine, table: str, where: str = "true") -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


async def test_each_shows_all_and_where_they_are(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    here, there = one.up_to_date("1"), other.up_to_date("2", delta=False, agent="gRPC C-core 1.80.0")
    there.stream.node.metadata["tier"] = "gold"  # type: ignore[index, union-attr]
    await until(lambda: one.shown() == other.shown() == {"1": ("one",), "2": ("other",)})
    await until(lambda: one.fleet.nodes() == other.fleet.nodes())
    node = one.fleet.node("2")
    assert node == other.fleet.node("2")
    assert node is not None
    assert {each.status for each in node.types} == {"SYNCED"}
    assert [node for node in one.fleet.connected() if node.id == "2"] == [there.stream.node]
    one.publish(cluster("web-1", 7))
    (answer,) = here.sent()
    here.ask(CLUSTER, nonce=answer.nonce, error="cluster 'web-1': not like this")
    await until(lambda: one.fleet.nodes() == other.fleet.nodes())
    rejection = next(each.rejection for each in other.fleet.node("1").types if each.type_url == CLUSTER)  # type: ignore[union-attr]
    assert rejection is not None
    assert (rejection.message, rejection.culprits) == ("cluster 'web-1': not like this", ("web-1",))
    there.leave()
    await until(lambda: one.shown() == {"1": ("one",)})
    left = one.fleet.node("2")
    assert left is not None
    assert (left.connected, left.replicas) == (False, ())


async def test_one_that_moved_is_where_it_is_now(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    before = one.up_to_date("n")
    await until(lambda: other.shown() == {"n": ("one",)})
    after = other.up_to_date("n")
    await until(lambda: one.shown() == other.shown() == {"n": ("one", "other")})
    assert [len(replica.fleet.nodes()) for replica in replicas] == [1, 1]
    before.leave()
    await until(lambda: one.shown() == other.shown() == {"n": ("other",)})
    after.leave()
    await until(lambda: one.shown() == other.shown() == {})


async def test_only_what_changed_is_told(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    take = Part.take

    def note(part: Part, nodes: Sequence[NodeStatus], rollouts: Sequence[Progress]) -> None:
        heard.extend(status.id for status in nodes)
        take(part, nodes, rollouts)

    one, other = replicas
    clients = [one.up_to_date(f"n{number}") for number in range(20)]
    await until(lambda: len(other.shown()) == 20)
    await until(lambda: one.fleet.nodes() == other.fleet.nodes())
    monkeypatch.setattr(Part, "take", note)
    clients[3].leave()
    with statements(engines[0]) as said:
        await until(lambda: len(other.shown()) == 19)
    assert heard == ["n3"]
    assert len([each for each in said if each.startswith("INSERT INTO replica_parts")]) == 1
    with statements(engines[0]) as said:
        start = time.monotonic()
        await until(lambda: time.monotonic() > start + 2 * GONE)
    written = [each for each in said if not each.startswith(("SELECT", "SET"))]
    assert {each.split(" SET ")[0] for each in written} == {"UPDATE replicas"}, (
        "it lives, and that is all there is to say"
    )
    assert len(written) <= 9
    with statements(engines[1]) as said:
        looks = len(said)
        await until(lambda: len(said) > looks + 10)
    assert not [each for each in said if "replica_parts" in each], "who tells nothing new is not read"


async def test_many_are_told_of_in_turn(
    replicas: tuple[SharingFleet, SharingFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "MOST", 7)
    monkeypatch.setattr(telling, "NODES", 0.05)
    one, other = replicas
    for number in range(40):
        one.up_to_date(f"n{number}")
    await until(lambda: len(other.shown()) == 40)
    await until(lambda: one.fleet.nodes() == other.fleet.nodes())


async def test_any_id_and_any_words_can_be_told(replicas: tuple[SharingFleet, SharingFleet]) -> None:
    one, other = replicas
    strange = "a\x00b/ä✓" + "x" * 10_000
    here = one.up_to_date(strange)
    one.publish(cluster("web-1", 7))
    (answer,) = here.sent()
    here.ask(CLUSTER, nonce=answer.nonce, error="nul \x00 and ✗")
    await until(lambda: one.fleet.nodes() == other.fleet.nodes() != [])
    assert list(other.shown()) == [strange]


async def test_one_that_dies_is_gone_in_time_and_its_rows_later(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    one, other = replicas
    one.up_to_date("1")
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"1", "2"})
    start = time.monotonic()
    with capture_logs() as logs:
        other.die()
        await until(lambda: set(one.shown()) == {"1"})
    assert time.monotonic() - start < GONE + 2
    assert [log["replica"] for log in logs if log["event"] == "replica.left"] == ["other"]
    assert one.fleet.others.problem == ""
    assert count(engines[0], "replicas") == 2
    await asyncio.to_thread(exchange, engines[0], "third", None, {}, gone_after=GONE, void_after=GONE)
    assert count(engines[0], "replicas") == 1
    assert count(engines[0], "replica_parts", "encode(body, 'escape') LIKE '%\"id\":\"2\"%'") == 0


async def test_one_that_stops_says_so(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    one, other = replicas
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"2"})
    await other.stop()
    assert count(engines[0], "replicas") == 1
    await until(lambda: one.shown() == {}, GONE / 2)


async def test_who_was_taken_for_dead_tells_everything_again(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    one, other = replicas
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"2"})
    with engines[0].begin() as connection:
        connection.execute(text("DELETE FROM replicas WHERE name = 'other'"))
    await until(lambda: one.shown() == {} or count(engines[0], "replicas") == 2)
    await until(lambda: set(one.shown()) == {"2"})


async def test_an_emptied_store_makes_nobody_dead(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    """As a crash of PostgreSQL leaves it, and a third replica that has noticed already."""
    one, other = replicas
    one.up_to_date("1")
    other.up_to_date("2")
    await until(lambda: one.shown() == other.shown() != {})
    with engines[0].begin() as connection:
        connection.execute(text("TRUNCATE replicas, replica_parts"))
        connection.execute(
            text("INSERT INTO replicas VALUES ('3', 'third', 1, 0, 0, clock_timestamp() + interval '1 hour')")
        )
    claims: list[set[str]] = []

    def problem() -> str:
        if not one.fleet.others.problem:
            claims.append(set(one.shown()))
        return one.fleet.others.problem

    await until(problem)
    assert "may not have told yet" in one.fleet.others.problem
    await until(lambda: problem() and set(one.shown()) == set(other.shown()) == {"1", "2"})
    await until(lambda: not problem())
    assert [shown for shown in claims if shown != {"1", "2"}] == [], "what it is sure of is true"


async def test_a_lost_store_leaves_ones_own_part_and_says_so(
    replicas: tuple[SharingFleet, SharingFleet], postgresql: Postgres
) -> None:
    one, other = replicas
    here = one.up_to_date("1")
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"1", "2"})
    postgresql.stop()
    try:
        await until(lambda: one.fleet.others.problem and other.fleet.others.problem)
        assert "the store cannot be" in one.fleet.others.problem
        assert [set(replica.shown()) for replica in replicas] == [{"1"}, {"2"}]
        revision = one.publish(endpoints("a", 5))
        here.accept(*here.sent())
        start = time.monotonic()
        progress = await one.fleet.wait(revision, within=0.2)
        assert time.monotonic() - start > 0.15, "it may yet become known"
        assert (progress.affected, progress.acknowledged, progress.reached(0)) == (1, 1, False)
        assert "the store cannot be" in progress.unknown
    finally:
        postgresql.start()
    other.publish(endpoints("a", 5))
    await until(lambda: set(one.shown()) == set(other.shown()) == {"1", "2"})
    await until(lambda: not one.fleet.others.problem)
    assert one.fleet.progress(revision).affected == 2


async def test_a_store_that_stands_still_is_given_up_on(
    replicas: tuple[SharingFleet, SharingFleet], postgresql: Postgres
) -> None:
    one, other = replicas
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"2"})
    postgresql.suspend()
    try:
        await until(lambda: one.fleet.others.problem)
        assert one.shown() == {}
    finally:
        postgresql.resume()
    await until(lambda: set(one.shown()) == {"2"})


async def test_what_is_remembered_no_more_is_told_to_be_gone(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "NODES", 0.05)
    monkeypatch.setattr("xds_server.fleet.fleet.MOST_ENDED", 3)
    one, other = replicas
    one.join("old").want(CLUSTER)
    one.fleet._nodes._most_departed = 1
    for name in ("first", "second"):
        one.up_to_date(name).leave()
        await until(lambda name=name: other.fleet.node(name))  # type: ignore[misc]
    await until(lambda: count(engines[0], "replica_parts", "kind = 'node'") == 2)
    revisions = []
    for number in range(6):
        revisions.append(one.publish(endpoints("a", 5 + number)))
        await until(lambda: revisions[-1] in next(iter(other.sharing._parts.values())).rollouts)
    await until(lambda: count(engines[0], "replica_parts", "kind = 'rollout'") == 3)
    assert one.fleet.revisions == revisions[3:]
    one.now += 3601
    other.now += 3601
    assert [node.id for node in other.fleet.nodes()] == ["old"]


async def test_what_a_newer_replica_tells_is_taken_as_far_as_it_is_understood(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    one, other = replicas
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"2"})
    other.die()

    def told(number: int, word: str, instead: str) -> None:
        body = "convert_to(replace(convert_from(body, 'UTF8'), :word, :instead), 'UTF8')"
        with engines[0].begin() as connection:
            parts = f"UPDATE replica_parts SET number = {number}, body = {body} WHERE kind = 'node'"
            connection.execute(text(parts), {"word": word, "instead": instead})
            connection.execute(text(f"UPDATE replicas SET number = {number} WHERE name = 'other'"))

    told(1_000_000, '"cluster":', '"colour":"red","cluster":')
    await until(lambda: 1_000_000 in one.sharing._heard.values())
    assert set(one.shown()) == {"2"}
    assert one.fleet.others.problem == ""
    with capture_logs() as logs:
        told(1_000_001, '"cluster":', '"group":')
        await until(lambda: one.fleet.others.problem == "other tells what this version does not understand")
    assert "replica.not_understood" in {log["event"] for log in logs}
    await until(lambda: one.fleet.others.problem == "" and one.shown() == {})


async def test_it_stands_in_nobodys_way(
    replicas: tuple[SharingFleet, SharingFleet], engines: tuple[Engine, Engine]
) -> None:
    """Not even a writer who has the catalogue's lock."""
    one, other = replicas
    with engines[0].begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x78647302})
        one.up_to_date("1")
        await until(lambda: set(other.shown()) == {"1"}, 2)


async def test_a_mistake_in_it_costs_no_more_than_what_it_shows(
    replicas: tuple[SharingFleet, SharingFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    other.up_to_date("2")
    await until(lambda: set(one.shown()) == {"2"})
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(one.sharing, "_take", lambda *_: 1 / 0)
        await until(lambda: "ZeroDivisionError" in one.fleet.others.problem)
        assert one.shown() == {}
        assert [log["event"] for log in logs] == ["replicas.failed"]
    await until(lambda: set(one.shown()) == {"2"})
