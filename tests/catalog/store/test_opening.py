"""Opening: what is no store, tables that grow with the program, and what cannot be reached; each said in one sentence."""

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgres import Postgres
from rig import free_port
from sqlalchemy import text
from stores import BY, START, changed

from xds_server.catalog.store import engine
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import Revision
from xds_server.catalog.store.store import Store
from xds_server.catalog.store.tables import metadata


def said_of(url: str) -> str:
    with pytest.raises(StoreError) as error:
        Store(url)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_empty_database_gets_its_tables_and_keeps_them(store_url: str) -> None:
    for base in range(2):
        store = Store(store_url)
        store.commit(Revision(base + 1, START, BY, "applied"), changed(a=str(base)))
        store.close()
    store = Store(store_url)
    assert store.head() == 2
    store.close()


def test_the_migrations_make_what_the_tables_say(store_url: str) -> None:
    store = Store(store_url)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    store.close()


def test_the_newest_migration_is_known_by_its_name(store_url: str) -> None:
    """Without alembic, which takes its time to be imported."""
    scripts = ScriptDirectory(str(Path(engine.__file__).parent / "migrations"))
    names = [Path(script.path).name for script in scripts.walk_revisions()]
    assert names == sorted(names, reverse=True)
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts.walk_revisions())
    store = Store(store_url)
    with store.engine.connect() as connection:
        assert engine._version(connection) == scripts.get_current_head()
    store.close()


def test_a_newer_store_is_left_alone(store_url: str) -> None:
    store = Store(store_url)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    assert "written by a newer xds-server (its tables are at 9999): use that one, or another store" in said_of(
        store_url
    )


def test_several_that_open_an_empty_store_at_once(store_url: str) -> None:
    opened: list[Store] = []
    failed: list[BaseException] = []

    def open_it() -> None:
        try:
            opened.append(Store(store_url))
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=open_it) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    for store in opened:
        assert store.head() == 0
        store.close()


@pytest.mark.parametrize("form", ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?cache=shared"])
def test_a_store_that_would_be_forgotten_is_none(form: str) -> None:
    assert "a store is kept in a file" in said_of(form)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "sqlite:///FILE or postgresql://"),
        ("store.db", "sqlite:///FILE or postgresql://"),
        ("mysql://u:secret@h/d", "not mysql"),
        ("postgresql//u:secret@h/d", "sqlite:///FILE or postgresql://"),
        ("postgresql://u:a@secret@127.0.0.1:1/d", "has an @ too many: write the one in the password as %40"),
        ("postgresql://127.0.0.1:1/d?user=u&password=secret", "the store postgresql://127.0.0.1:1/d cannot be opened"),
        ("sqlite:////no/such/place/store.db", "there is no directory /no/such/place"),
    ],
)
def test_what_is_no_store(url: str, words: str) -> None:
    told = said_of(url)
    assert words in told
    assert "secret" not in told


def test_others_on_this_machine_cannot_read_a_new_store(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.check()
    assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("store.db", "store.db-shm", "store.db-wal"), 0
    )
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    assert "notes.txt cannot be opened: file is not a database" in said_of(f"sqlite:///{tmp_path}/notes.txt")
    assert "cannot be opened" in said_of(f"sqlite:///{tmp_path}")


def test_a_server_that_is_not_there_and_one_that_lets_nobody_in(postgresql: Postgres) -> None:
    told = said_of(f"postgresql://u:secret@127.0.0.1:{free_port()}/d")
    assert "postgresql://u:***@127.0.0.1:" in told
    assert "refused" in told
    assert "secret" not in told
    told = said_of(f"postgresql://u:secret@127.0.0.1:{postgresql.port}/d")
    assert 'role "u" does not exist' in told
    assert "secret" not in told


def test_both_spellings_of_postgresql(postgresql: Postgres) -> None:
    url = postgresql.database()
    for spelling in (url, url.replace("postgresql://", "postgres://"), url.replace("://", "+psycopg://")):
        store = Store(spelling)
        assert store.is_shared
        store.close()


def test_commits_are_on_the_disk(tmp_path: Path, postgresql: Postgres) -> None:
    """What kill -9 cannot show, and a power cut would."""

    def setting(url: str, statement: str) -> Any:
        store = Store(url)
        with store.engine.connect() as connection:
            found = connection.execute(text(statement)).scalar()
        store.close()
        return found

    sqlite = f"sqlite:///{tmp_path}/store.db"
    assert (setting(sqlite, "PRAGMA journal_mode"), setting(sqlite, "PRAGMA synchronous")) == ("wal", 2)
    assert setting(postgresql.database(), "SHOW synchronous_commit") == "on"
