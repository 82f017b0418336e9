"""Tokens: what is made, what is kept, and what is believed."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from xds_server.security import tokens
from xds_server.security.roles import Role, permits
from xds_server.security.tokens import InvalidTokenError, Token, create, find, is_expired

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def made(name: str = "ci", role: Role = Role.WRITE, expires: datetime | None = None) -> tuple[str, Token]:
    return create(name, role, now=NOW, expires=expires, author="ada")


def test_a_token_is_random_and_only_its_hash_is_kept() -> None:
    text, token = made()
    assert text.startswith("xds_")
    assert len(text) == len("xds_") + 43 + 8
    assert text.isascii()
    assert text.removeprefix("xds_").isalnum(), "a double click takes all of it"
    assert token == Token(text[-8:], "ci", Role.WRITE, hashlib.sha256(text.encode()).hexdigest(), NOW, None, "ada")
    secret = text[4:-8]
    assert secret not in repr(token)
    assert token.hash not in repr(token)
    assert len({made()[0] for _ in range(100)}) == 100


def test_a_token_is_found_by_all_of_its_text() -> None:
    text, token = made()
    _, other = made("other")
    assert find(text, [other, token]) is token
    assert find(text, [other]) is None
    for wrong in (
        "",
        "xds_",
        text[:-1],
        text + "a",
        text.removeprefix("xds_"),
        text[:-9] + "~" + text[-8:],
        text.upper(),
    ):
        assert find(wrong, [token]) is None
    changed = text[:4] + ("a" if text[4] != "a" else "b") + text[5:]
    assert find(changed, [token]) is None, "the id alone is not enough"


def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    text, token = made()
    others = [made(f"t{n}")[1] for n in range(3)]

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(tokens, "hmac", Watched)
    assert find(text, [token, *others]) is token
    assert len(compared) == 4, "whether the first one matches does not show"


def test_a_token_ends_at_its_time() -> None:
    _, token = made(expires=NOW + timedelta(hours=1))
    assert not is_expired(token, NOW + timedelta(minutes=59))
    assert is_expired(token, NOW + timedelta(hours=1))
    assert not is_expired(made()[1], NOW + timedelta(days=36500))


@pytest.mark.parametrize(
    ("name", "expires", "said"),
    [
        ("", None, "'' is no name of a token"),
        ("a b", None, "'a b' is no name"),
        ("a\nb", None, r"'a\\nb' is no name"),
        ("x" * 64, None, "is no name of a token: use 1 to 63"),
        ("local", None, "'local' is the name of those who need no token"),
        ("ci", NOW, "which is past"),
    ],
)
def test_what_cannot_be_a_token(name: str, expires: datetime | None, said: str) -> None:
    with pytest.raises(InvalidTokenError, match=said):
        made(name, expires=expires)


def test_each_role_may_all_that_those_before_it_may() -> None:
    order = [Role.READ, Role.OPERATE, Role.WRITE, Role.ADMIN]
    for has in order:
        assert [needed for needed in order if permits(has, needed)] == order[: order.index(has) + 1]
