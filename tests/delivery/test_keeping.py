"""What definitions became is kept for the next start, which then serves just the same without making it anew."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from catalogues import gateway, gone, over, upstream, wants
from postgres import Postgres
from restarted import Run, count_targets, counted, run
from sqlalchemy import text
from structlog.testing import capture_logs

from xds_server.catalog.planning import Proposal
from xds_server.catalog.store.engine import StoreError
from xds_server.delivery import keeping
from xds_server.delivery.in_force import Key
from xds_server.delivery.program import fingerprint
from xds_server.resolvers import Answer, Question
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.xds import ENDPOINTS

Patch = pytest.MonkeyPatch
DEFINITIONS: tuple[Upstream | Gateway, ...] = (
    upstream("plain", "10.0.0.1", "10.0.0.2"),
    upstream("none"),
    upstream("hosts", "10.0.0.1", hostnames=["a.example", "*.b.example"], labels={"team": "a"}, timeout="3s"),
    upstream("probed", "10.0.0.1", "10.0.0.2", health_checks={"active": {}}),
    upstream("scoped", "10.0.0.1", nodes={"clusters": ["edge"]}),
    upstream("near", "10.0.0.1", localities={"balance": "nearest"}),
    upstream("tls", "10.0.0.1", tls={"ca_file": "/etc/ca.pem", "sni": "a.example"}),
    upstream("envoy", "db.example", resolve="envoy"),
    upstream("raw", "10.0.0.1", envoy={"connect_timeout": "9s"}),
    gateway("public", 80),
    gateway("tcp", 81, upstream="scoped"),
)
NAMES = {each.name for each in DEFINITIONS}


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    postgresql: Postgres = request.getfixturevalue("postgresql")
    return postgresql.database()


def execute(one: Run, statement: str) -> None:
    with one.catalog.store.engine.begin() as connection:
        connection.execute(text(statement))


async def test_a_start_makes_nothing_anew_and_serves_the_same(url: str, monkeypatch: Patch) -> None:
    async with run(url) as first:
        await first.commit(wants(*DEFINITIONS))
        await first.commit(lambda _: Proposal(wants()(_).by, over("plain", "10.0.0.2:80", state="draining")))
        sent = first.sent
    made = counted(monkeypatch)
    async with run(url) as again:
        assert (again.sent, again.known, made) == (sent, NAMES, [])
        assert again.catalog.contents.targets == first.catalog.contents.targets
    async with run(url, program=b"another") as anew:
        assert (anew.sent, anew.known, set(made)) == (sent, set(), NAMES)


async def test_what_is_found_without_reading_is_what_is_read(sqlite: str) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(*DEFINITIONS))
        facts = {key: record.facts for key, record in first.catalog.contents.records.items()}
    async with run(sqlite) as again:
        assert {key: record.facts for key, record in again.catalog.contents.records.items()} == facts


async def test_no_target_is_in_memory_as_a_model_after_a_start(sqlite: str) -> None:
    hosts = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1_000)]
    probed: dict[str, Any] = {"health_checks": {"active": {}}}
    before = count_targets()
    async with run(sqlite) as first:
        await first.commit(wants(*(upstream(f"u{n}", *hosts, **probed) for n in range(50))))
    del first
    async with run(sqlite) as again:
        assert again.known
        assert count_targets() == before
        await again.commit(wants(upstream("u0", *hosts[1:], **probed)))
        assert count_targets() < before + 5 * len(hosts), "a change reads what it touches"
        for n in range(50):
            assert again.catalog.contents.upstream(f"u{n}") is not None
        assert count_targets() <= before + 30 * len(hosts), "and what was read is not held for ever"


async def test_the_models_of_a_start_that_makes_everything_go_as_well(sqlite: str) -> None:
    hosts = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1_000)]
    before = count_targets()
    async with run(sqlite) as first:
        await first.commit(wants(*(upstream(f"u{n}", *hosts) for n in range(50))))
    del first
    async with run(sqlite, program=b"another") as anew:
        assert not anew.known
        assert count_targets() <= before + 30 * len(hosts)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE compiled SET body = {half} WHERE name = 'plain'",
        "UPDATE compiled SET facts = '{{}}' WHERE name = 'plain'",
        "UPDATE compiled SET facts = replace(facts, '2', '3') WHERE name = 'plain'",
        "UPDATE compiled SET digest = checksum WHERE name = 'plain'",
        "DELETE FROM compiled WHERE name = 'plain'",
    ],
)
async def test_a_damaged_row_is_made_anew_and_mended(url: str, damage: str, monkeypatch: Patch) -> None:
    half = "substr(body, 1, 40)" if url.startswith("sqlite") else "substring(body from 1 for 40)"
    async with run(url) as first:
        await first.commit(wants(*DEFINITIONS))
        sent = first.sent
    async with run(url) as second:
        execute(second, damage.format(half=half))
    made = counted(monkeypatch)
    async with run(url) as third:
        assert (third.sent, made) == (sent, ["plain"])
    async with run(url) as fourth:
        assert (fourth.sent, fourth.known) == (sent, NAMES)


async def test_a_row_that_is_whole_and_cannot_be_read_is_made_anew(sqlite: str, monkeypatch: Patch) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(*DEFINITIONS))
        sent = first.sent
        monkeypatch.setattr(keeping, "packed", lambda made: b"\0\0\0\2{}")
        first.publisher.on_served({}, {})
    async with run(sqlite, program=b"wrote nonsense") as second:
        assert second.sent == sent
    async with run(sqlite, program=b"wrote nonsense") as third:
        assert (third.sent, third.known) == (sent, NAMES)


async def test_what_changed_where_nothing_was_kept_is_made_anew(sqlite: str, monkeypatch: Patch) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(*DEFINITIONS))
    async with run(sqlite) as second:
        monkeypatch.setattr(second.keeper, "end", lambda: asyncio.sleep(0))  # as one that is killed
        await second.commit(wants(upstream("plain", "10.0.0.9")))
        await second.commit(lambda _: Proposal(wants()(_).by, over("probed", "10.0.0.2:80", weight=0)))
        await second.commit(wants(remove=gone("none")))
        sent = second.sent
    made = counted(monkeypatch)
    async with run(sqlite) as third:
        assert (third.sent, set(made)) == (sent, {"plain", "probed"})
        assert ("upstream", "none") in third.readymade.stale
    async with run(sqlite) as fourth:
        assert ("upstream", "none") not in fourth.rows()
        assert fourth.known == NAMES - {"none"}


async def test_what_is_removed_is_kept_no_longer(sqlite: str) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(*DEFINITIONS))
    async with run(sqlite) as second:
        await second.commit(wants(remove=gone("plain", "tls")))
        await second.keeper.end()
        assert {name for _, name in second.rows()} == NAMES - {"plain", "tls"}


async def test_what_the_definition_alone_does_not_decide_is_not_kept(
    sqlite: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    async def look_up(_: Question) -> Answer:
        return Answer(("10.9.9.9",), ttl=300)

    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    draining = {"host": "10.0.0.1", "port": 80, "state": "draining"}
    (tmp_path / "ca").mkdir()
    async with run(sqlite, secrets=tmp_path) as first:
        monkeypatch.setattr(first.publisher.resolver, "_lookup", look_up)
        await first.commit(
            wants(
                upstream("named", "db.example"),
                upstream("drains", targets=[{**draining, "drain_until": later}]),
                upstream("drained", targets=[{**draining, "drain_until": "2020-01-01T00:00:00Z"}]),
                upstream("secret", "10.0.0.1", tls={"ca": "missing", "sni": "a.example"}),
                upstream("plain", "10.0.0.1"),
            )
        )
        await first.keeper.end()
        assert {name for _, name in first.rows()} == {"plain"}
        await first.commit(wants(upstream("plain", "db.example")))
        await first.keeper.end()
        assert not first.rows(), "what was kept of it is of no use any more"


async def test_what_is_refused_is_not_kept_and_told_at_each_start(sqlite: str) -> None:
    bad = {"connect_timeout": "0s"}
    async with run(sqlite) as first:
        await first.commit(wants(upstream("bad", "10.0.0.1", envoy=bad), upstream("ok", "10.0.0.1")))
    for _ in range(2):
        with capture_logs() as logs:
            async with run(sqlite) as again:
                assert {name for _, name in again.rows()} == again.known == {"ok"}
        assert [log["name"] for log in logs if log["event"] == "definition.refused"] == ["bad"]


async def test_what_will_surprise_is_told_at_each_start(sqlite: str) -> None:
    with capture_logs() as first_logs:
        async with run(sqlite) as first:
            await first.commit(wants(upstream("odd", "10.0.0.1", hash_on=[{"header": "x"}])))
    with capture_logs() as logs:
        async with run(sqlite) as again:
            assert again.known == {"odd"}
    told = [[log for log in each if log["event"] == "definition.lint"] for each in (first_logs, logs)]
    assert told[0] == told[1] != []


async def test_replaced_targets_stay_for_an_overlap_after_a_start_too(sqlite: str) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(upstream("probed", "10.0.0.1", health_checks={"active": {}})))
    async with run(sqlite) as again:
        assert again.known == {"probed"}
        await again.commit(wants(upstream("probed", "10.0.0.2", health_checks={"active": {}})))
        body = again.sent[ENDPOINTS, "probed"][1]
        assert b"10.0.0.1" in body
        assert b"10.0.0.2" in body


async def test_a_change_after_a_start_does_what_it_would_have_done(sqlite: str) -> None:
    async with run(sqlite) as first:
        await first.commit(wants(*DEFINITIONS))
    changed = wants(
        upstream("plain", "10.0.0.7"),
        upstream("scoped", "10.0.0.1", nodes={"clusters": ["core"]}),
        upstream("hosts", "10.0.0.1", hostnames=["c.example"]),
        gateway("public", 88),
        remove=gone("near", "tls"),
    )
    async with run(sqlite) as again:
        with capture_logs() as logs:
            await again.commit(changed)
    effects = {log["name"]: log["effect"] for log in logs if log["event"] == "definition.applied"}
    assert effects == {
        "plain": "endpoints",
        "scoped": "other nodes",
        "hosts": "cluster rebuild, routes",
        "public": "listener",
        "near": "removed",
        "tls": "removed",
    }
    async with run(f"{sqlite}.fresh") as fresh:
        await fresh.commit(wants(*DEFINITIONS))
        await fresh.commit(changed)
        assert again.sent == fresh.sent


async def test_a_store_that_cannot_keep_it_is_no_error(sqlite: str, monkeypatch: Patch) -> None:
    def broken(*_: object) -> Any:
        raise StoreError("no")

    async with run(sqlite) as first:
        monkeypatch.setattr(first.readymade, "keep", broken)
        with capture_logs() as logs:
            await first.commit(wants(*DEFINITIONS))
            await first.keeper.end()
        assert not [log for log in logs if log["log_level"] in ("warning", "error")]
        assert first.rows() == {}
        sent = first.sent
    async with run(sqlite) as second:
        execute(second, "DROP TABLE compiled")
        assert second.rows() == {}
    async with run(sqlite) as third:
        assert third.sent == sent


async def test_it_is_written_once_it_has_stayed_as_it_is(sqlite: str, monkeypatch: Patch) -> None:
    written: list[set[str]] = []
    monkeypatch.setattr(keeping, "QUIET", 0.2)
    async with run(sqlite) as first:
        keep = first.readymade.keep

        def kept(rows: dict[Key, Any]) -> None:
            keep(rows)
            written.append({name for _, name in rows})

        monkeypatch.setattr(first.readymade, "keep", kept)
        writing = asyncio.create_task(first.keeper.run())
        try:
            await first.commit(wants(*DEFINITIONS))
            assert not written
            async with asyncio.timeout(20):
                while not written:
                    await asyncio.sleep(0.01)
                assert written == [NAMES]
                await first.commit(wants(upstream("plain", "10.0.0.3")))
                while len(written) < 2:
                    await asyncio.sleep(0.01)
            assert written[1:] == [{"plain"}]
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


def test_the_program_is_told_by_its_text(tmp_path: Path, monkeypatch: Patch) -> None:
    def copy(name: str, text: str) -> bytes:
        root = tmp_path / name
        (root / "upstreams").mkdir(parents=True)
        (root / "upstreams" / "translate.py").write_text(text)
        monkeypatch.setattr("xds_server.delivery.program.resources.files", lambda _: root)
        return fingerprint()

    assert copy("a", "1") == copy("b", "1") != copy("c", "2")
    gc.collect()
