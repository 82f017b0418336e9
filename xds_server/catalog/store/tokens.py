"""API tokens in the store, beside the catalogue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from xds_server.catalog.store.engine import open_engine
from xds_server.catalog.store.tables import tokens
from xds_server.catalog.store.transaction import reading, writing
from xds_server.security.roles import Role
from xds_server.security.tokens import NameTakenError, Token


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

    def remove(self, name: str) -> bool:
        with writing(self._engine) as connection:
            return connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount > 0


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
