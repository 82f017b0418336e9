"""Who is asking, and whether they may: every way in, and what is said to those who stay outside."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from xds_server.security.access import (
    AccessError,
    Caller,
    ForbiddenError,
    Identity,
    Policy,
    UnauthenticatedError,
    identify,
    require,
)
from xds_server.security.roles import Role
from xds_server.security.tokens import Token, create

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TEXT, TOKEN = create("ci", Role.WRITE, now=NOW, author="ada")
OLD_TEXT, OLD = create("old", Role.ADMIN, now=NOW - timedelta(days=2), expires=NOW - timedelta(days=1), author="ada")
CERTIFICATES = {"ci.internal": Role.READ, "spiffe://a/ops": Role.ADMIN}
LOCAL = Policy(open_to="local")


def who(caller: Caller, *tokens: Token, policy: Policy = LOCAL) -> Identity:
    return identify(caller, tokens, policy, NOW)


def refused(caller: Caller, *tokens: Token, policy: Policy = LOCAL, status: int = 401) -> str:
    with pytest.raises(AccessError) as error:
        who(caller, *tokens, policy=policy)
    assert error.value.status == status
    assert error.value.title
    assert TEXT not in error.value.detail
    assert TEXT[4:-8] not in error.value.detail
    return error.value.detail


@pytest.mark.parametrize(
    "header", [f"Bearer {TEXT}", f"bearer {TEXT}", f"  Bearer   {TEXT} "], ids=["plain", "lower-case", "spaces"]
)
def test_a_token_identifies(header: str) -> None:
    assert who(Caller(header), OLD, TOKEN) == Identity("ci", Role.WRITE, "token")


def test_a_token_comes_before_a_certificate() -> None:
    caller = Caller(f"Bearer {TEXT}", ("spiffe://a/ops",))
    assert who(caller, TOKEN, policy=Policy(CERTIFICATES)).role is Role.WRITE
    assert "not known here" in refused(Caller("Bearer nonsense", ("spiffe://a/ops",)), policy=Policy(CERTIFICATES))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "must be 'Bearer' and a token"),
        (f"Basic {TEXT}", "must be 'Bearer' and a token"),
        (TEXT, "must be 'Bearer' and a token"),
        (f"Bearer {TEXT}x", "this token is not known here: it was revoked"),
        (f"Bearer {OLD_TEXT}", "the token 'old' expired at 2026-11-25 12:00:00 UTC"),
    ],
    ids=["none", "basic", "no-scheme", "unknown", "expired"],  # tokens differ from one process of the tests to the next
)
def test_what_is_no_token_identifies_nobody(header: str, said: str) -> None:
    assert said in refused(Caller(header), TOKEN, OLD)


def test_a_wrong_token_is_refused_where_none_is_needed_too() -> None:
    assert "there is none here: leave it out" in refused(Caller(f"Bearer {TEXT}"))


def test_a_certificate_identifies_by_its_greatest_role() -> None:
    caller = Caller(certificate=("x", "ci.internal", "spiffe://a/ops"))
    assert who(caller, policy=Policy(CERTIFICATES)) == Identity("spiffe://a/ops", Role.ADMIN, "certificate")
    assert who(caller, TOKEN, policy=Policy(CERTIFICATES)).by == "certificate"


def test_a_certificate_without_a_role_is_nobody() -> None:
    said = refused(Caller(certificate=("edge-1",)), policy=Policy(CERTIFICATES, "local"))
    assert "the client certificate has no role here (it is for 'edge-1'): see --client-roles" in said
    # A node's certificate alone is no key to the management API, whatever it is called.
    assert "a token is needed" in refused(Caller(certificate=("admin",)), TOKEN)


def test_without_tokens_everyone_on_loopback_is_admin() -> None:
    assert who(Caller()) == Identity("local", Role.ADMIN, "nobody")
    assert who(Caller(), policy=Policy(open_to="anyone")) == Identity("anyone", Role.ADMIN, "nobody")
    assert "none exists yet: make one with `xds-server token create`" in refused(Caller(), policy=Policy())


@pytest.mark.parametrize("token", [TOKEN, OLD], ids=["valid", "expired"])
def test_as_soon_as_a_token_exists_it_is_needed(token: Token) -> None:
    said = refused(Caller(), token)
    assert said == "a token is needed, in the header Authorization as 'Bearer' and the token"
    refused(Caller(), token, policy=Policy(open_to="anyone"))


def test_as_soon_as_a_certificate_has_a_role_one_is_needed() -> None:
    refused(Caller(), policy=Policy(CERTIFICATES, "local"))


@pytest.mark.parametrize("host", ["127.0.0.1:18080", "localhost:18080", "[::1]:18080", "LOCALHOST", "127.0.0.1", None])
def test_loopback_goes_by_several_names(host: str | None) -> None:
    assert who(Caller(host=host)).name == "local"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:18080", "10.0.0.1:18080", "localhost.evil.example", ""])
def test_a_name_that_another_site_points_here_is_not_local(host: str) -> None:
    assert "by that name" in refused(Caller(host=host), status=403)
    assert who(Caller(host=host), policy=Policy(open_to="anyone")).name == "anyone"
    assert who(Caller(f"Bearer {TEXT}", host=host), TOKEN).name == "ci"


@pytest.mark.parametrize("open_to", ["local", "anyone"])
def test_only_names_that_are_told_lead_here_where_any_is(open_to: Literal["local", "anyone"]) -> None:
    policy = Policy(open_to=open_to, hosts=("control-plane", "fd00::2"))
    for host in ("control-plane", "Control-Plane:18080", "127.0.0.1:18080", "[fd00::2]:18080", "[fd00::2]", None):
        assert who(Caller(host=host), policy=policy).name == open_to
    for host in ("evil.example:18080", "control-plane.evil.example", "10.0.0.1", ""):
        said = refused(Caller(host=host), policy=policy, status=403)
        assert said.endswith("127.0.0.1 or [::1], or to control-plane, fd00::2, by that name")
        assert who(Caller(f"Bearer {TEXT}", host=host), TOKEN, policy=policy).name == "ci"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://localhost:18080"]
)
@pytest.mark.parametrize("policy", [LOCAL, Policy(open_to="anyone")], ids=["local", "anyone"])
def test_a_web_page_of_another_site_is_not_local(origin: str, policy: Policy) -> None:
    said = refused(Caller(host="127.0.0.1:18080", origin=origin), policy=policy, status=403)
    assert said == "requests of another site's web page need a token"
    assert who(Caller(host="127.0.0.1:18080", origin="http://127.0.0.1:18080")).name == "local"


def test_a_role_that_is_too_small_is_named_beside_the_one_that_is_needed() -> None:
    identity = Identity("ci", Role.READ, "token")
    require(identity, Role.READ)
    with pytest.raises(ForbiddenError) as error:
        require(identity, Role.WRITE, "applying definitions")
    assert str(error.value) == "applying definitions needs the role write, and 'ci' has read: use a token that has it"
    assert (ForbiddenError.status, UnauthenticatedError.status) == (403, 401)


def test_what_a_caller_sends_is_not_shown() -> None:
    assert TEXT not in repr(Caller(f"Bearer {TEXT}"))
