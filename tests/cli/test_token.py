"""`xds-server token`: what is printed where, and what the store is given."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from xds_server.cli.errors import CommandError
from xds_server.cli.token import token_commands
from xds_server.security.roles import Role
from xds_server.security.tokens import NameTakenError, RevokedToken, Token, find


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.by_name: dict[str, Token] = {}
        self.gone: list[RevokedToken] = []
        self.urls: list[str] = []

    def tokens(self) -> list[Token]:
        return [self.by_name[name] for name in sorted(self.by_name)]

    def add(self, token: Token) -> None:
        if token.name in self.by_name:
            raise NameTakenError(token.name)
        self.by_name[token.name] = token

    def revoke(self, name: str, *, now: datetime, by: str) -> bool:
        found = self.by_name.pop(name, None)
        if found is None:
            return False
        kept = (found.id, found.name, found.role, found.created, found.expires, found.author)
        self.gone.append(RevokedToken(*kept, revoked=now, by=by))
        return True

    def revoked(self) -> list[RevokedToken]:
        return self.gone

    @contextmanager
    def opened(self, url: str) -> Iterator["Kept"]:
        self.urls.append(url)
        yield self


@pytest.fixture
def kept() -> Kept:
    return Kept()


def run(kept: Kept, *args: str) -> Result:
    done = CliRunner().invoke(token_commands(kept.opened), args, env={"XDS_SERVER_STORE": None})
    if done.exit_code == 0:
        assert done.exception is None
    return done


def failure(kept: Kept, *args: str) -> str:
    done = run(kept, *args)
    assert isinstance(done.exception, CommandError), done.output
    return str(done.exception)


def test_a_token_is_printed_alone_and_only_its_hash_is_kept(kept: Kept) -> None:
    done = run(kept, "create", "ci", "--role", "write", "--store", "sqlite:///x.db")
    text = done.stdout.removesuffix("\n")
    (token,) = kept.tokens()
    assert find(text, [token]) is token
    assert (token.name, token.role, token.expires) == ("ci", Role.WRITE, None)
    assert token.author.endswith(f"@{socket.gethostname()}")
    assert done.stderr == "xds-server: the token 'ci' may write until it is revoked; it is shown this once:\n"
    assert text not in repr(vars(kept))
    assert kept.urls == ["sqlite:///x.db"]


def test_the_store_is_that_of_serve(kept: Kept) -> None:
    run(kept, "list")
    CliRunner().invoke(token_commands(kept.opened), ["list"], env={"XDS_SERVER_STORE": "postgresql://db/x"})
    assert kept.urls == ["sqlite:///xds-server.db", "postgresql://db/x"]


@pytest.mark.parametrize(
    ("expires", "lifetime"), [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), ("90m", timedelta(minutes=90))]
)
def test_a_token_may_end(kept: Kept, expires: str, lifetime: timedelta) -> None:
    before = datetime.now(UTC)
    done = run(kept, "create", "ci", "--role", "read", "--expires", expires)
    (token,) = kept.tokens()
    assert token.expires is not None
    assert before + lifetime <= token.expires <= datetime.now(UTC) + lifetime
    assert f"may read until {token.expires:%Y-%m-%dT%H:%M:%SZ}" in done.stderr


def test_tokens_are_listed_without_their_secrets(kept: Kept) -> None:
    text = run(kept, "create", "ci", "--role", "write").stdout.strip()
    run(kept, "create", "ada", "--role", "admin", "--expires", "1h")
    lines = run(kept, "list").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["NAME", "ROLE"], ["ada", "admin"], ["ci", "write"]], "a pipe"
    assert f"…{text[-8:]}" in lines[2]
    assert "never" in lines[2]
    listed = json.loads(run(kept, "list", "-o", "json").stdout)
    assert [(entry["name"], entry["role"], entry["expired"]) for entry in listed] == [
        ("ada", "admin", False),
        ("ci", "write", False),
    ]
    for shown in (*lines, str(listed)):
        assert text[4:-8] not in shown
        assert kept.by_name["ci"].hash not in shown


def test_an_expired_token_is_listed_as_such(kept: Kept) -> None:
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    kept.add(Token("abcdefgh", "old", Role.READ, "", long_ago, long_ago + timedelta(days=1), "ada"))
    assert "2026-01-02T00:00:00Z (expired)" in run(kept, "list").stdout
    assert json.loads(run(kept, "list", "-o", "json").stdout)[0]["expired"] is True


def test_a_revoked_token_is_gone_and_the_last_one_is_told(kept: Kept) -> None:
    for name in ("ci", "ada"):
        run(kept, "create", name, "--role", "admin")
    done = run(kept, "revoke", "ci")
    assert done.stderr == "xds-server: the token 'ci' is revoked\n"
    assert [token.name for token in kept.tokens()] == ["ada"]
    assert (
        "it was the last one: whoever reaches a management port on loopback is admin"
        in run(kept, "revoke", "ada").stderr
    )


def test_who_revoked_what_is_kept(kept: Kept) -> None:
    text = run(kept, "create", "ci", "--role", "write").stdout.strip()
    run(kept, "create", "ada", "--role", "admin")
    run(kept, "revoke", "ci")
    run(kept, "create", "ci", "--role", "read")
    assert "REVOKED" not in run(kept, "list").stdout
    lines = run(kept, "list", "--all").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["ada", "admin"], ["ci", "read"], ["ci", "write"]]
    listed = json.loads(run(kept, "list", "--all", "-o", "json").stdout)
    assert [bool(entry.get("revoked")) for entry in listed] == [False, False, True]
    gone = listed[-1]
    assert gone["ends"] == f"…{text[-8:]}"
    assert gone["author"] == gone["revoked_by"]
    assert gone["revoked_by"].endswith(f"@{socket.gethostname()}")
    assert gone["revoked"] in lines[-1]
    assert text[4:-8] not in str(listed)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["create", "ci", "--role", "read"], "there is a token 'ci' already"),
        (["create", "a b", "--role", "read"], "'a b' is no name of a token"),
        (["create", "local", "--role", "read"], "'local' is the name of those who need no token"),
        (
            ["create", "x", "--role", "read", "--expires", "soon"],
            "--expires 'soon' is not a time: write 30d, 12h or 90m",
        ),
        (["create", "x", "--role", "read", "--expires", "0s"], "which is past"),
        (["create", "x", "--role", "read", "--expires", "0d"], "is not a time"),
        (["revoke", "nobody"], "there is no token 'nobody'"),
    ],
)
def test_what_cannot_be_is_one_sentence(kept: Kept, args: list[str], said: str) -> None:
    run(kept, "create", "ci", "--role", "write")
    assert said in failure(kept, *args)
    assert [token.role for token in kept.tokens()] == [Role.WRITE]


def test_a_role_is_one_of_four(kept: Kept) -> None:
    done = run(kept, "create", "ci", "--role", "root")
    assert done.exit_code == 2
    assert "'root' is not one of read, operate, write, admin" in done.output
    assert "Value error" not in done.output
