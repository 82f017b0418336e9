"""TLS to targets: whom the real Envoy believes, and under which name it asks."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tls_backend import CERTIFICATES, MESH, TlsBackend
from translated_envoy import TranslatedEnvoy

from xds_server.testing import send

pytestmark = pytest.mark.envoy

SECTION = "Protocols and TLS"
CA = {"ca_file": str(CERTIFICATES / "ca.pem")}
OTHER_CA = {"ca_file": str(CERTIFICATES / "other-ca.pem")}
CLIENT = {"cert_file": str(CERTIFICATES / "client.pem"), "key_file": str(CERTIFICATES / "client.key")}
MESH_CA = {"ca_file": str(MESH / "ca.pem")}
NAMES = {
    "payments.internal": ["127.0.0.1"],
    "other.internal": ["127.0.0.1"],
    "a.internal": ["127.0.0.1"],
    "b.internal": ["127.0.0.1"],
}


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with ExitStack() as stack:
        plain = stack.enter_context(TlsBackend())
        mutual = stack.enter_context(TlsBackend(clients=CERTIFICATES / "ca.pem"))
        both = stack.enter_context(TlsBackend(offers_h2=True))
        new = stack.enter_context(TlsBackend(oldest=ssl.TLSVersion.TLSv1_3))
        old = stack.enter_context(TlsBackend(newest=ssl.TLSVersion.TLSv1_2))
        a, b = (stack.enter_context(TlsBackend(MESH / name, only=f"{name}.internal")) for name in "ab")
        started = stack.enter_context(TranslatedEnvoy())
        upstreams = [upstream(name, plain.port, **fields) for name, (fields, _) in {**BELIEVED, **REFUSED}.items()]
        sni = {**CA, "sni": "payments.internal"}
        upstreams += [upstream("with-certificate", mutual.port, tls={**sni, **CLIENT})]
        upstreams += [upstream("without-certificate", mutual.port, tls=sni)]
        upstreams += [upstream("both-protocols", both.port, tls=sni, protocol="auto", health_checks={"active": {}})]
        for name, backend in {"new": new, "old": old}.items():
            upstreams += [upstream(f"{name}-target", backend.port, tls=sni)]
            upstreams += [upstream(f"{name}-target-of-1.3", backend.port, tls={**sni, "min_version": "1.3"})]
        each = [{"host": "a.internal", "port": a.port}, {"host": "b.internal", "port": b.port}]
        upstreams += [{"name": "each-its-own", "targets": each, "tls": MESH_CA, "host_header": "target"}]
        upstreams += [{"name": "one-for-all", "targets": each, "tls": MESH_CA, "host_header": "a.internal"}]
        upstreams += [{"name": "each-keeps-host", "targets": each, "tls": MESH_CA}]
        mixed = {**MESH_CA, "subject_alt_names": ["spiffe://internal/a"]}
        upstreams += [{"name": "by-uri", "targets": each, "tls": mixed, "host_header": "target"}]
        started.serve_with_gateways({"upstreams": upstreams}, **NAMES)
        assert not [event for event in started.events if event.kind == "rejected"]
        yield started


def upstream(name: str, port: int, *, host: str = "127.0.0.1", **fields: Any) -> dict[str, Any]:
    return {"name": name, "targets": [{"host": host, "port": port}], **fields}


BELIEVED: dict[str, tuple[dict[str, Any], str]] = {
    "sni": ({"tls": {**CA, "sni": "payments.internal"}}, "payments.internal sni"),
    "sni-wildcard": ({"tls": {**CA, "sni": "eu.wild.internal"}}, "eu.wild.internal sni-wildcard"),
    "sni-address": ({"tls": {**CA, "sni": "127.0.0.1"}}, "127.0.0.1 sni-address"),
    "sni-and-host": (
        {"tls": {**CA, "sni": "payments.internal"}, "host_header": "shop.internal"},
        "payments.internal shop.internal",
    ),
    "own-name": ({"tls": CA, "host": "payments.internal"}, "payments.internal own-name"),
    "own-name-and-host": (
        {"tls": CA, "host": "payments.internal", "host_header": "shop.internal"},
        "payments.internal shop.internal",
    ),
    "own-name-as-host": (
        {"tls": CA, "host": "payments.internal", "host_header": "target"},
        "payments.internal payments.internal",
    ),
    "resolved-by-envoy": ({"tls": CA, "host": "localhost", "resolve": "envoy"}, "localhost resolved-by-envoy"),
    "unverified": ({"tls": {"verify": False}}, "None unverified"),
    "unverified-sni": ({"tls": {"verify": False, "sni": "nobody.internal"}}, "nobody.internal unverified-sni"),
    "auto-http1": (
        {
            "tls": {**CA, "sni": "payments.internal"},
            "protocol": "auto",
            "health_checks": {"active": {"interval": "100ms"}},
        },
        "payments.internal auto-http1",
    ),
}
for _name, _given in {
    "exact": ["nobody.internal", "payments.internal"],
    "suffix": ["*.internal"],
    "suffix-of-wildcard": ["*.wild.internal"],
    "address": ["127.0.0.1"],
}.items():
    _tls = {**CA, "sni": "asked.internal", "subject_alt_names": _given}
    BELIEVED[f"names-{_name}"] = ({"tls": _tls}, f"asked.internal names-{_name}")
BELIEVED["names-without-sni"] = (
    {"tls": {**CA, "subject_alt_names": ["payments.internal"]}},
    "None names-without-sni",
)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "wrong-name": ({"tls": {**CA, "sni": "other.internal"}}, ""),
    "wrong-own-name": ({"tls": CA, "host": "other.internal"}, ""),
    "wrong-ca": ({"tls": {**OTHER_CA, "sni": "payments.internal"}}, ""),
    "names-other": ({"tls": {**CA, "sni": "payments.internal", "subject_alt_names": ["other.internal"]}}, ""),
    "names-other-suffix": ({"tls": {**CA, "sni": "payments.internal", "subject_alt_names": ["*.other.internal"]}}, ""),
    # The system's authorities did not sign the test's certificate.
    "system-ca": ({"tls": {"sni": "payments.internal"}}, ""),
}


@pytest.mark.feature(
    SECTION, "TLS asks by the right name, and believes a certificate for it, or for one of the names given"
)
@pytest.mark.parametrize("name", BELIEVED)
def test_a_right_certificate_is_believed(envoy: TranslatedEnvoy, name: str) -> None:
    answer = envoy.ask(name)
    assert (answer.status, answer.body.decode()) == (200, BELIEVED[name][1])


@pytest.mark.feature(SECTION, "TLS refuses certificates of other authorities and for other names")
@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_certificate_is_refused(envoy: TranslatedEnvoy, name: str) -> None:
    assert envoy.ask(name).status == 503
    assert envoy.envoy.stat(f"cluster.{name}.ssl.handshake") == 0


@pytest.mark.feature(SECTION, "with protocol auto, probes speak what they ask for")
def test_probes_of_an_upstream_with_both_protocols_ask_for_the_one_they_speak(envoy: TranslatedEnvoy) -> None:
    assert set(envoy.envoy.endpoints("both-protocols").values()) == {"HEALTHY"}


@pytest.mark.feature(SECTION, "the client certificate is shown to targets that demand one")
def test_the_client_certificate_is_shown(envoy: TranslatedEnvoy) -> None:
    assert envoy.ask("with-certificate").status == 200
    assert envoy.ask("without-certificate").status == 503


@pytest.mark.feature(
    SECTION, "targets that speak nothing older than TLS 1.3 are reached, and min_version refuses older ones"
)
def test_versions_of_tls(envoy: TranslatedEnvoy) -> None:
    names = ("new-target", "old-target", "new-target-of-1.3", "old-target-of-1.3")
    assert [envoy.ask(name).status for name in names] == [200, 200, 200, 503]


@pytest.mark.feature(
    SECTION, "host_header: target with TLS sends each target its own name, as server name and as Host, and verifies it"
)
def test_each_target_is_asked_by_its_own_name(envoy: TranslatedEnvoy) -> None:
    """Targets with a certificate each, that answer to their own name only."""
    for listener in ("public", "static"):
        assert send(envoy.port(listener), "each-its-own", 8) == {"a": 4, "b": 4}
    assert send(envoy.port("public"), "one-for-all", 8) == {"a": 4, "421": 4}


@pytest.mark.feature(
    SECTION, "TLS without sni asks each target by its own name and verifies it, while Host is the client's"
)
def test_each_target_has_its_own_server_name(envoy: TranslatedEnvoy) -> None:
    bodies = {envoy.ask("each-keeps-host").body.decode() for _ in range(4)}
    assert bodies == {"a.internal each-keeps-host", "b.internal each-keeps-host"}


@pytest.mark.feature(SECTION, "subject_alt_names may be URIs, as SPIFFE has them")
def test_names_may_be_uris(envoy: TranslatedEnvoy) -> None:
    assert send(envoy.port("public"), "by-uri", 8) == {"a": 4, "503": 4}
