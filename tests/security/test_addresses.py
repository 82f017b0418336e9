"""Where the server may listen: each refusal names the option, the address and what to do."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from xds_server.security.addresses import is_loopback, open_to, refusal
from xds_server.settings import Settings


@dataclass(frozen=True)
class Given:
    xds_address: str = "127.0.0.1:18000"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    client_roles: dict[str, str] = field(default_factory=dict)
    insecure: bool = False


TLS: dict[str, Any] = {"tls_cert": Path("c"), "tls_key": Path("k")}
MUTUAL: dict[str, Any] = {**TLS, "tls_client_ca": Path("ca")}
OUTSIDE = "0.0.0.0:18000"
LOCAL_HTTP = {"--http-address": "127.0.0.1:18080"}
OPEN_HTTP = {"--http-address": "10.0.0.1:18080"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LocalHost", "::1", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    bracketed = f"[{host}]" if ":" in host else host
    assert is_loopback(bracketed)
    assert is_loopback(f"{bracketed}:80")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "127.1", "0", "host", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
    assert not is_loopback(f"[{host}]:80" if ":" in host else f"{host}:80")


@pytest.mark.parametrize(
    ("given", "management", "tokens"),
    [
        ({}, LOCAL_HTTP, False),
        (TLS, LOCAL_HTTP, False),
        ({**MUTUAL, "xds_address": OUTSIDE}, LOCAL_HTTP, False),
        ({**MUTUAL, "xds_address": OUTSIDE}, OPEN_HTTP, False),
        (TLS, OPEN_HTTP, True),
        ({"xds_address": OUTSIDE, "insecure": True}, OPEN_HTTP, False),
        ({**MUTUAL, "client_roles": {"a": "read"}}, OPEN_HTTP, False),
    ],
)
def test_what_may_be(given: dict[str, Any], management: dict[str, str], tokens: bool) -> None:
    assert refusal(Given(**given), management, tokens=tokens) is None


@pytest.mark.parametrize(
    ("given", "management", "tokens", "said"),
    [
        ({"tls_cert": Path("c")}, {}, True, "--tls-cert and --tls-key go together"),
        ({"tls_key": Path("k")}, {}, True, "--tls-cert and --tls-key go together"),
        ({"tls_client_ca": Path("a"), "insecure": True}, {}, True, "--tls-client-ca needs --tls-cert and --tls-key"),
        ({**TLS, "client_roles": {"a": "read"}}, {}, True, "--client-roles needs --tls-client-ca"),
        (
            {"xds_address": OUTSIDE},
            LOCAL_HTTP,
            True,
            "--xds-address 0.0.0.0:18000: other machines reach it, and could be any node: give --tls-cert, --tls-key and "
            "--tls-client-ca",
        ),
        ({**TLS, "xds_address": OUTSIDE}, LOCAL_HTTP, True, "could be any node: give --tls-client-ca"),
        (
            {},
            OPEN_HTTP,
            True,
            "--http-address 10.0.0.1:18080: other machines reach it, in plain text: give --tls-cert and --tls-key; or "
            "--insecure",
        ),
        (TLS, OPEN_HTTP, False, "--http-address 10.0.0.1:18080: other machines reach it, and nothing says who may"),
        (TLS, {**LOCAL_HTTP, "--grpc-address": "[::]:1"}, False, "--grpc-address [::]:1: other machines reach it"),
    ],
)
def test_what_may_not_be(given: dict[str, Any], management: dict[str, str], tokens: bool, said: str) -> None:
    assert said in (refusal(Given(**given), management, tokens=tokens) or "")


def test_the_servers_own_defaults_are_loopback() -> None:
    settings = Settings()
    assert refusal(settings, {"--http-address": settings.http_address}, tokens=False) is None
    assert "0.0.0.0" in (refusal(Settings(xds_address=OUTSIDE), {}, tokens=False) or "")


def test_who_is_let_in_while_there_is_no_token() -> None:
    assert open_to(Given(), "127.0.0.1:1") == "local"
    assert open_to(Given(), OUTSIDE) == "nobody"
    assert open_to(Given(insecure=True), OUTSIDE) == "anyone"
    assert open_to(Given(insecure=True), "localhost:1") == "local"
