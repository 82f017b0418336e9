"""API tokens: made once, shown once, kept as a hash. Where they are kept is somebody else's concern: see `TokenStore`.

A token is ``xds_``, 43 random letters and digits (256 bits), and the 8 that are its id. The id is no part of the secret: it
may be shown, and says which token was found in a log or a repository.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from xds_server.security.roles import Role

PREFIX: Final = "xds_"
"""What tokens begin with, so that scanners for leaked secrets find them."""
_LETTERS: Final = string.ascii_letters + string.digits
_SECRET: Final = 43
_ID: Final = 8
_TOKEN: Final = re.compile(rf"{PREFIX}[A-Za-z0-9]{{{_SECRET + _ID}}}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
RESERVED: Final = frozenset({"local", "anyone"})
"""Names of those who need no token: see `access`."""


class InvalidTokenError(ValueError):
    """A token that cannot be made. The text is one sentence."""


class NameTakenError(Exception):
    """There is a token of that name already."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: str
    """The last 8 characters of the token."""
    name: str
    """Unique: whose changes they are, in the history."""
    role: Role
    hash: str = field(repr=False)
    """SHA-256 of the whole token, in hex. One round suffices for what is random."""
    created: datetime
    expires: datetime | None
    """From when on it is refused; None for never. Both times in UTC."""
    author: str
    """Who made it, and on which machine: ``ada@ops-1``."""


@dataclass(frozen=True, slots=True)
class RevokedToken:
    """What is kept of a token that was taken away: see `Token`."""

    id: str
    name: str
    """Another one may be called so by now."""
    role: Role
    created: datetime
    expires: datetime | None
    author: str
    revoked: datetime
    by: str
    """Who took it away, and on which machine."""


class TokenStore(Protocol):
    """Where tokens are kept. Calls may block."""

    def tokens(self) -> Sequence[Token]:
        """All of them, expired ones too, by name."""

    def add(self, token: Token) -> None:
        """Keep one more, durably. Raises NameTakenError."""

    def revoke(self, name: str, *, now: datetime, by: str) -> bool:
        """Take one away, for good, and keep who did; whether there was one of that name."""

    def revoked(self) -> Sequence[RevokedToken]:
        """All that were taken away, in the order in which they were."""


def create(name: str, role: Role, *, now: datetime, expires: datetime | None = None, author: str) -> tuple[str, Token]:
    """A new token: its text, which cannot be had again, and what to keep of it. Raises InvalidTokenError."""
    if not _NAME.fullmatch(name):
        raise InvalidTokenError(f"{name!r} is no name of a token: use 1 to 63 letters, digits, '.', '_', '@' and '-'")
    if name in RESERVED:
        raise InvalidTokenError(f"{name!r} is the name of those who need no token: choose another one")
    if expires is not None and expires <= now:
        raise InvalidTokenError(f"the token would end at {expires:%Y-%m-%d %H:%M:%S} UTC, which is past")
    text = PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_SECRET + _ID))
    return text, Token(text[-_ID:], name, role, _hash(text), created=now, expires=expires, author=author)


def find(text: str, tokens: Iterable[Token]) -> Token | None:
    """The token that `text` is, expired or not. How long it takes says nothing of what is secret."""
    if not _TOKEN.fullmatch(text):
        return None
    presented = _hash(text)
    found = [token for token in tokens if hmac.compare_digest(token.hash, presented)]
    return found[0] if found else None


def id_of(text: str) -> str:
    """The id in a token, which is no secret; empty for what cannot be a token, of which nothing may be shown."""
    return text[-_ID:] if _TOKEN.fullmatch(text) else ""


def is_expired(token: Token | RevokedToken, now: datetime) -> bool:
    """Whether it is refused by now."""
    return token.expires is not None and token.expires <= now


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
