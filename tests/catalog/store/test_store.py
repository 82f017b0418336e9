"""Commits: whole, on top of the newest revision or not at all, and everything that was ever in force can be had again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from postgres import Postgres
from sqlalchemy import text
from stores import BY, START, changed, entry, said

from xds_server.catalog.store import postgres as limits
from xds_server.catalog.store.engine import InDoubtError, StoreError
from xds_server.catalog.store.postgres import WRITE_LOCK
from xds_server.catalog.store.records import Attribution, Change, Held, Revision
from xds_server.catalog.store.store import BehindError, Committed, Store


def revision(number: int, **more: Any) -> Revision:
    return Revision(number, START + timedelta(seconds=number), BY, **{"state": "applied", **more})


def commit(store: Store, base: int, **more: Any) -> Revision:
    """Write the revision after `base`. Of `more`, names of one letter are upstreams."""
    wanted = {name: value for name, value in more.items() if len(name) == 1}
    options = {name: more[name] for name in ("mark", "may_commit") if name in more}
    about = {name: more[name] for name in ("state", "refers_to") if name in more}
    made = revision(base + 1, **about)
    store.commit(made, changed(**wanted), **options)
    return made


def test_an_empty_store(store: Store) -> None:
    assert (store.head(), store.oldest(), store.load(), store.since(0)) == (0, 0, (0, {}), [])
    assert store.revision(1) is None
    assert store.revisions() == []


def test_a_revision_is_kept_with_all_that_it_says(store: Store) -> None:
    by = Attribution("ann", "two at once — 世界", "2001:db8::1", "files")
    made = {
        ("upstream", "a"): Change("added", entry("first", "/etc/a.yaml", 7)),
        ("gateway", "a"): Change("added", entry("second")),
        ("override", "a/10.0.0.1:80"): Change("removed", None),
    }
    written = Revision(1, START + timedelta(microseconds=123456), by, "held", 5, "why")
    store.commit(written, made)
    assert store.revision(1) == Committed(written, made)
    assert store.since(0) == store.held() == [Committed(written, made)]
    assert store.revisions() == [written]


def test_what_is_in_force_is_what_was_said_last(store: Store) -> None:
    commit(store, 0, a="1", b="1", c="1")
    commit(store, 1, a="2", b=None)
    commit(store, 2, b="3")
    head, held = store.load()
    assert head == 3
    assert said(held) == {"a": "2", "b": "3", "c": "1"}
    assert {name: each.revision for (_, name), each in held.items()} == {"a": 2, "b": 3, "c": 1}
    assert held[("upstream", "a")] == Held(entry("2"), 2)
    assert [said(store.state_at(n)) for n in (1, 2, 3)] == [
        {"a": "1", "b": "1", "c": "1"},
        {"a": "2", "c": "1"},
        {"a": "2", "b": "3", "c": "1"},
    ]


def test_who_is_not_on_the_newest_revision_writes_nothing(store: Store) -> None:
    commit(store, 0, a="1")
    for base in (0, 2):
        with pytest.raises(BehindError):
            commit(store, base, a="2")
    assert store.head() == 1
    assert said(store.load()[1]) == {"a": "1"}


def test_a_held_revision_has_a_number_and_is_in_no_state(store: Store) -> None:
    commit(store, 0, a="1")
    commit(store, 1, a=None, state="held")
    commit(store, 2, b="1")
    assert said(store.load()[1]) == said(store.state_at(3)) == {"a": "1", "b": "1"}
    commit(store, 3, a=None, refers_to=2, mark={2: "released"})
    assert said(store.load()[1]) == {"b": "1"}
    assert [(each.number, each.state) for each in store.revisions()] == [
        (4, "applied"),
        (3, "applied"),
        (2, "released"),
        (1, "applied"),
    ]
    assert store.revisions(state="held") == []


def test_revisions_come_in_pages(store: Store) -> None:
    for base in range(7):
        commit(store, base, a=str(base))
    assert [each.number for each in store.revisions(most=3)] == [7, 6, 5]
    assert [each.number for each in store.revisions(before=5, most=3)] == [4, 3, 2]
    assert [each.revision.number for each in store.since(2, most=3)] == [3, 4, 5]
    assert [dict(each.changes) for each in store.since(5)] == [changed(a="5"), changed(a="6")]


def test_an_empty_revision(store: Store) -> None:
    commit(store, 0, a="1")
    store.commit(revision(2), {})
    assert [dict(each.changes) for each in store.since(0)] == [changed(a="1"), {}]


def test_of_many_writers_each_commits_once_and_no_number_is_left_out(store: Store) -> None:
    def write(writer: int) -> list[int]:
        numbers = []
        for turn in range(10):
            while True:
                try:
                    numbers.append(commit(store, store.head(), **{chr(97 + writer): str(turn)}).number)
                    break
                except BehindError:
                    continue
        return numbers

    with ThreadPoolExecutor(4) as threads:
        numbers = sorted(number for made in threads.map(write, range(4)) for number in made)
    assert numbers == [*range(1, 41)]
    assert said(store.load()[1]) == dict.fromkeys("abcd", "9")


def test_a_reader_sees_one_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another replica may commit between two statements of one answer."""
    commit(store, 0, a="1")
    module = "xds_server.catalog.store.store._head"
    real = Store.load.__globals__["_head"]

    def slow(connection: Any) -> int:
        monkeypatch.setattr(module, real)
        commit(store, 1, a="2")
        return int(real(connection))

    monkeypatch.setattr(module, slow)
    head, held = store.load()
    assert (head, said(held)) == (1, {"a": "1"})
    assert store.head() == 2


def test_a_commit_that_nobody_waits_for_any_more_is_not_made(store: Store) -> None:
    with pytest.raises(StoreError, match="took too long"):
        commit(store, 0, a="1", may_commit=lambda: False)
    assert store.load() == (0, {})


def test_what_fails_halfway_leaves_nothing(store: Store) -> None:
    class StopError(Exception):
        pass

    def stop() -> bool:
        raise StopError

    with pytest.raises(StopError):
        commit(store, 0, a="1", may_commit=stop)
    with pytest.raises(StoreError, match="cannot be written"):
        store.commit(revision(1), {("upstream", "a"): Change(None, None)})  # type: ignore[arg-type]
    assert store.load() == (0, {})
    assert store.revision(1) is None


def test_a_commit_in_doubt_is_settled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = commit(store, 0, a="1")
    assert store.settle(made, changed(a="1"))
    assert not store.settle(made, changed(a="2")), "somebody else's, of the same number"
    assert not store.settle(revision(2), changed(a="1"))


def test_an_error_of_the_commit_itself_leaves_doubt(store: Store) -> None:
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    def fail(_: Any) -> None:
        raise OperationalError("COMMIT", None, OSError("connection lost"))

    event.listen(store.engine, "commit", fail)
    with pytest.raises(InDoubtError, match="connection lost"):
        commit(store, 0, a="1")
    event.remove(store.engine, "commit", fail)
    assert store.head() == 0


def test_a_store_that_can_be_written_says_so_and_one_that_cannot_does_not(store: Store) -> None:
    store.check()
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE alembic_version RENAME TO elsewhere"))
    with pytest.raises(StoreError, match="cannot be written"):
        store.check()


def test_a_connection_that_is_gone_at_the_commit_leaves_doubt_which_is_settled(postgresql: Postgres) -> None:
    store = Store(postgresql.database())

    def end_it() -> bool:
        ended = postgresql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND objid = %s",
            WRITE_LOCK,
        )
        assert len(ended) == 1
        return True

    with pytest.raises(InDoubtError):
        commit(store, 0, a="1", may_commit=end_it)
    assert not store.settle(revision(1), changed(a="1"))
    assert commit(store, 0, a="1").number == 1
    store.close()


def test_a_writer_that_says_nothing_loses_its_turn(postgresql: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine is gone, say: the others must not wait for it for ever."""
    monkeypatch.setitem(limits.SESSION, "idle_in_transaction_session_timeout", "1s")
    url = postgresql.database()
    silent, other, has_its_turn, may_go_on = Store(url), Store(url), Event(), Event()

    def say_nothing() -> bool:
        has_its_turn.set()
        return may_go_on.wait(20)

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(commit, silent, 0, a="1", may_commit=say_nothing)
        assert has_its_turn.wait(20)
        assert commit(other, 0, b="1").number == 1
        may_go_on.set()
        assert isinstance(writing.exception(), StoreError)
    assert said(other.load()[1]) == {"b": "1"}
    silent.close()
    other.close()
