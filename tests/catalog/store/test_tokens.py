"""Tokens in the store: made, found again, taken away by somebody, and none forgotten by a newer version."""

from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from xds_server.catalog.store import engine
from xds_server.catalog.store.store import Store
from xds_server.catalog.store.tokens import StoredTokens, open_tokens
from xds_server.security.roles import Role
from xds_server.security.tokens import NameTakenError, RevokedToken, create

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_made_and_taken_away(store: Store) -> None:
    tokens = StoredTokens(store.engine)
    _, first = create("ci", Role.WRITE, now=NOW, expires=NOW + timedelta(days=1), author="ada@ops-1")
    tokens.add(first)
    assert [*tokens.tokens()] == [first]
    with pytest.raises(NameTakenError):
        tokens.add(create("ci", Role.READ, now=NOW, author="bob")[1])
    later = NOW + timedelta(hours=1)
    assert tokens.revoke("ci", now=later, by="bob@ops-2")
    assert not tokens.revoke("ci", now=later, by="bob@ops-2")
    assert [*tokens.tokens()] == []
    gone = RevokedToken(first.id, "ci", Role.WRITE, NOW, first.expires, "ada@ops-1", revoked=later, by="bob@ops-2")
    assert [*tokens.revoked()] == [gone]
    _, second = create("ci", Role.READ, now=later, author="ada@ops-1")
    tokens.add(second)
    assert tokens.revoke("ci", now=later + timedelta(hours=1), by="ada@ops-1")
    assert [(each.id, each.by) for each in tokens.revoked()] == [
        (first.id, "bob@ops-2"),
        (second.id, "ada@ops-1"),
    ]
    with store.engine.connect() as connection:
        everything = [str(row) for row in connection.execute(text("SELECT * FROM revoked_tokens"))]
    assert not any(hash in row for hash in (first.hash, second.hash) for row in everything)


def test_those_of_the_first_version_go_on(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade

    def to_the_first(config: Config, revision: str) -> None:
        upgrade(config, "0001")

    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", to_the_first)
        engine.open_engine(store_url).dispose()
    old = create_engine(engine._parsed(store_url))
    with old.begin() as connection:
        assert engine._version(connection) == "0001"
        connection.execute(
            text("INSERT INTO tokens VALUES ('abcdefgh', 'ci', 'write', 'x', '2026-11-26 12:00:00', NULL, 'ada')")
        )
    old.dispose()
    with open_tokens(store_url) as tokens:
        (token,) = tokens.tokens()
        assert (token.name, token.created, token.author) == ("ci", NOW, "ada")
        assert tokens.revoke("ci", now=NOW, by="bob")
        assert [each.by for each in tokens.revoked()] == ["bob"]
