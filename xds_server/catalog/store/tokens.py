"""API tokens in the store, beside the catalogue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from xds_server.catalog.store.engine import open_engine
from xds_server.catalog.store.tables import revoked_tokens, tokens
from xds_server.catalog.store.transaction import reading, writing
from xds_server.security.roles import Role
from xds_server.security.tokens import NameTakenError, RevokedToken, Token


class StoredTokens:
    """A `TokenStore`. Methods raise StoreError when the store cannot be reached or written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tokens(self) -> Sequence[Token]:
        with reading(self._engine) as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.name))]

    def add(self, token: Token) -> None:
        row = {field: getattr(token, field) for field in ("id", "name", "hash", "created", "expires", "author")}
        with writing(self._engine) as connection:
            if connection.execute(select(tokens.c.id).where(tokens.c.name == token.name)).first() is not None:
                raise NameTakenError
            connection.execute(insert(tokens).values(row | {"role": token.role.value}))

    def revoke(self, name: str, *, now: datetime, by: str) -> bool:
        with writing(self._engine) as connection:
            row = connection.execute(select(tokens).where(tokens.c.name == name)).first()
            if row is None:
                return False
            kept = {field: getattr(row, field) for field in ("id", "name", "role", "created", "expires", "author")}
            connection.execute(insert(revoked_tokens).values(kept | {"revoked": now, "revoked_by": by}))
            connection.execute(delete(tokens).where(tokens.c.id == row.id))
            return True

    def revoked(self) -> Sequence[RevokedToken]:
        with reading(self._engine) as connection:
            rows = connection.execute(select(revoked_tokens).order_by(revoked_tokens.c.revoked, revoked_tokens.c.id))
            return [_revoked(row) for row in rows]


@contextmanager
def open_tokens(url: str) -> Iterator[StoredTokens]:
    """The tokens of the store at a URL, for the block. Raises StoreError."""
    engine = open_engine(url)
    try:
        yield StoredTokens(engine)
    finally:
        engine.dispose()


def _token(row: Any) -> Token:
    return Token(row.id, row.name, Role(row.role), row.hash, row.created, row.expires, row.author)


def _revoked(row: Any) -> RevokedToken:
    return RevokedToken(
        row.id, row.name, Role(row.role), row.created, row.expires, row.author, revoked=row.revoked, by=row.revoked_by
    )
