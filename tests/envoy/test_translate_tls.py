"""TLS to targets: whom the real Envoy believes, and under which name it asks."""

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import golden
import pytest
from translated_envoy import TranslatedEnvoy

pytestmark = pytest.mark.envoy

CERTIFICATES = golden.CERTIFICATES
CA = {"ca_file": str(CERTIFICATES / "ca.pem")}
OTHER_CA = {"ca_file": str(CERTIFICATES / "other-ca.pem")}
CLIENT = {"cert_file": str(CERTIFICATES / "client.pem"), "key_file": str(CERTIFICATES / "client.key")}
NAMES = {"payments.internal": ["127.0.0.1"], "other.internal": ["127.0.0.1"]}


class QuietServer(ThreadingHTTPServer):
    """Keeps refused handshakes, which some tests are about, off the tests' output."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class TlsBackend:
    """HTTP/1.1 over TLS, with a certificate for payments.internal, *.wild.internal, localhost and 127.0.0.1.

    It answers with the server name that it was asked for and the Host, of this very connection. With `offers_h2` it
    takes HTTP/2 where that is offered, and as it cannot speak it, does not answer.
    """

    def __init__(self, *, wants_client_certificate: bool = False, offers_h2: bool = False) -> None:
        names: dict[Any, str | None] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.connection.selected_alpn_protocol() == "h2":
                    self.close_connection = True
                    return
                body = f"{names.get(self.connection)} {self.headers['host']}".encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Not on the tests' output."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        if wants_client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(CERTIFICATES / "ca.pem")
        if offers_h2:
            context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda connection, name, _: names.__setitem__(connection, name)
        self._server = QuietServer(("127.0.0.1", 0), Handler)
        # Handshakes in the connection's own thread: one that is given up must not hold up the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "TlsBackend":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with ExitStack() as stack:
        plain = stack.enter_context(TlsBackend())
        mutual = stack.enter_context(TlsBackend(wants_client_certificate=True))
        both = stack.enter_context(TlsBackend(offers_h2=True))
        started = stack.enter_context(TranslatedEnvoy())
        upstreams = [upstream(name, plain.port, **fields) for name, (fields, _) in {**BELIEVED, **REFUSED}.items()]
        sni = {**CA, "sni": "payments.internal"}
        upstreams += [upstream("with-certificate", mutual.port, tls={**sni, **CLIENT})]
        upstreams += [upstream("without-certificate", mutual.port, tls=sni)]
        upstreams += [upstream("both-protocols", both.port, tls=sni, protocol="auto", health_checks={"active": {}})]
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
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "wrong-name": ({"tls": {**CA, "sni": "other.internal"}}, ""),
    "wrong-own-name": ({"tls": CA, "host": "other.internal"}, ""),
    "wrong-ca": ({"tls": {**OTHER_CA, "sni": "payments.internal"}}, ""),
    # The system's authorities did not sign the test's certificate.
    "system-ca": ({"tls": {"sni": "payments.internal"}}, ""),
}


@pytest.mark.parametrize("name", BELIEVED)
def test_a_right_certificate_is_believed(envoy: TranslatedEnvoy, name: str) -> None:
    answer = envoy.ask(name)
    assert (answer.status, answer.body.decode()) == (200, BELIEVED[name][1])


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_certificate_is_refused(envoy: TranslatedEnvoy, name: str) -> None:
    assert envoy.ask(name).status == 503
    assert envoy.envoy.stat(f"cluster.{name}.ssl.handshake") == 0


def test_probes_of_an_upstream_with_both_protocols_ask_for_the_one_they_speak(envoy: TranslatedEnvoy) -> None:
    assert set(envoy.envoy.endpoints("both-protocols").values()) == {"HEALTHY"}


def test_the_client_certificate_is_shown(envoy: TranslatedEnvoy) -> None:
    assert envoy.ask("with-certificate").status == 200
    assert envoy.ask("without-certificate").status == 503
