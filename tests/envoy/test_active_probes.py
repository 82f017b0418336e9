"""What a probe is, and what it takes for a good answer: requests that really arrived, and who is HEALTHY for them."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

import grpc
import pytest
from recording_server import CA_FILE, RecordingServer
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backend

pytestmark = pytest.mark.envoy

SECTION = "Active health checks"
FAST = {"interval": "50ms", "timeout": "2s", "healthy_threshold": 1, "unhealthy_threshold": 1}
SNI = {"ca_file": CA_FILE, "sni": "payments.internal"}


@pytest.fixture(scope="module")
def rig() -> Iterator[ServedUpstreams]:
    with ServedUpstreams("probes") as started:
        yield started


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as started:
        yield started


@pytest.fixture
def tls_server() -> Iterator[RecordingServer]:
    with RecordingServer(tls=True) as started:
        yield started


def at(server: Any, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, **more}


def checks(**active: Any) -> dict[str, Any]:
    return {"active": {**FAST, **active}}


def judged(rig: ServedUpstreams, *cases: tuple[dict[str, Any], bool], **addresses: list[str]) -> list[str]:
    """Serve upstreams of one target each, and wait until those that should be are healthy and the others are not."""
    names = rig.serve_all([fields for fields, _ in cases], **addresses)
    expected = ["HEALTHY" if good else "FAILED_ACTIVE_HC" for _, good in cases]
    seen: list[str] = []

    def reached() -> bool:
        seen[:] = ["".join(rig.health(name).values()) for name in names]
        return seen == expected

    rig.envoy.wait_until(reached, 10, f"{expected}, not {seen}")
    return names


@pytest.mark.feature(SECTION, "a probe carries the path, method, Host, headers and body that are written")
def test_what_a_probe_looks_like(rig: ServedUpstreams, server: RecordingServer) -> None:
    probe = {
        "path": "/probe?deep=1",
        "method": "POST",
        "host": "probe.example",
        "headers": {"x-probe": "100%", "Accept": "text/plain"},
        "body": "ping é",
    }
    judged(rig, ({"targets": [at(server)], "health_checks": checks(**probe)}, True))
    seen = server.received[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", "/probe?deep=1", "ping é".encode())
    assert (seen.headers["host"], seen.headers["x-probe"], seen.headers["accept"]) == (
        "probe.example",
        "100%",
        "text/plain",
    )


@pytest.mark.feature(SECTION, "without further words a probe is GET / with the upstream's name as its Host")
def test_what_a_probe_is_by_default(rig: ServedUpstreams, server: RecordingServer) -> None:
    (name,) = judged(rig, ({"targets": [at(server)], "health_checks": {"active": {}}}, True))
    seen = server.received[0]
    assert (seen.method, seen.path, seen.headers["host"], seen.body) == ("GET", "/", name, b"")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods(rig: ServedUpstreams, server: RecordingServer, method: str) -> None:
    body = {"body": "x"} if method in ("OPTIONS", "PUT", "PATCH") else {}
    judged(rig, ({"targets": [at(server)], "health_checks": checks(method=method, **body)}, True))
    assert (server.received[0].method, server.received[0].body) == (method, b"x" if body else b"")


@pytest.mark.feature(SECTION, "statuses that are expected, one by one or as ranges, are healthy, all others are not")
def test_expected_statuses(rig: ServedUpstreams, server: RecordingServer) -> None:
    server.status = 302
    expected = {(302,): True, ("200-299",): False, ("200-299", 302): True, ("200-301", "303-599"): False, (200,): False}
    judged(
        rig,
        *(
            ({"targets": [at(server)], "health_checks": checks(expected_statuses=list(statuses))}, good)
            for statuses, good in expected.items()
        ),
    )


@pytest.mark.feature(
    SECTION, "the texts of expected_body must all be in the answer, in their order, up to 64 KiB into it"
)
def test_expected_body(rig: ServedUpstreams, server: RecordingServer) -> None:
    server.answer = (
        b'{"database": "up", ' + b" " * 40_000 + b'"cache": "up", "binary": "\x00\xff"}' + b" " * 30_000 + b"end"
    )
    expected: dict[tuple[str, ...], bool] = {
        ('"database": "up"', '"cache": "up"'): True,
        ('"cache": "up"', '"database": "up"'): False,
        ("hex:00ff",): True,
        ("down",): False,
        ("end",): False,  # behind 64 KiB
    }
    judged(
        rig,
        *(
            ({"targets": [at(server)], "health_checks": checks(expected_body=list(body))}, good)
            for body, good in expected.items()
        ),
    )


@pytest.mark.feature(SECTION, "a tcp probe is a connection: a port that nobody listens on is unhealthy")
def test_tcp_probes_connect(rig: ServedUpstreams) -> None:
    with Backend("a") as a, Backend("b") as b:
        b.close()
        fields: dict[str, Any] = {"protocol": "tcp", "health_checks": checks(type="tcp")}
        judged(rig, ({"targets": [target(a)], **fields}, True), ({"targets": [target(b)], **fields}, False))


@pytest.mark.feature(SECTION, "a tcp probe sends text or bytes, and wants to receive what is written")
def test_tcp_probes_send_and_receive(rig: ServedUpstreams) -> None:
    with Redis() as redis:
        probes: list[tuple[dict[str, Any], bool]] = [
            ({"send": "PING\r\n", "receive": ["+PONG"]}, True),
            ({"send": "hex:50494E470d0a", "receive": ["hex:2b", "NG"]}, True),
            ({"send": "PING\r\n", "receive": ["-ERR"]}, False),
            ({"send": "QUIT\r\n", "receive": ["+PONG"]}, False),
            ({"receive": ["ready"]}, True),
            ({"receive": ["PONG"]}, False),
        ]
        cases = [({"type": "tcp", "timeout": "200ms", **probe}, good) for probe, good in probes]
        judged(
            rig,
            *(
                ({"protocol": "tcp", "targets": [at(redis)], "health_checks": checks(**probe)}, good)
                for probe, good in cases
            ),
        )
        assert redis.received >= {b"PING\r\n", b"QUIT\r\n"}


@pytest.mark.feature(SECTION, "targets of plain TCP can be probed by HTTP on a port of their own")
def test_http_probes_of_plain_tcp(rig: ServedUpstreams, server: RecordingServer) -> None:
    server.status = 503
    with Redis() as redis, RecordingServer() as good:
        fields: dict[str, Any] = {"protocol": "tcp", "health_checks": checks(path="/primary")}
        judged(
            rig,
            ({"targets": [at(redis, health_check={"port": good.port})], **fields}, True),
            ({"targets": [at(redis, health_check={"port": server.port})], **fields}, False),
        )
    assert good.received[0].path == "/primary"


@pytest.mark.feature(
    SECTION, "a grpc probe asks grpc.health.v1 for the service, with headers as metadata, and wants SERVING"
)
def test_grpc_probes(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        good, bad = (stack.enter_context(GrpcHealth(serving)) for serving in (True, False))
        probe = {"type": "grpc", "service": "shop.v1.Orders", "headers": {"X-Probe": "1"}}
        fields: dict[str, Any] = {"protocol": "http2", "health_checks": checks(**probe)}
        judged(rig, ({"targets": [at(good)], **fields}, True), ({"targets": [at(bad)], **fields}, False))
        assert good.asked == {(b"shop.v1.Orders", "1")}


@pytest.mark.feature(SECTION, "probes go over TLS where the traffic does, with its server name and its authorities")
def test_probes_go_over_the_tls_of_the_traffic(rig: ServedUpstreams, tls_server: RecordingServer) -> None:
    names = {"payments.internal": ["127.0.0.1"], "other.internal": ["127.0.0.1"]}
    other_ca = CA_FILE.replace("ca.pem", "other-ca.pem")
    judged(
        rig,
        ({"targets": [at(tls_server)], "tls": SNI, "health_checks": checks()}, True),
        ({"targets": [at(tls_server)], "tls": SNI, "health_checks": checks(type="https", path="/s")}, True),
        ({"targets": [at(tls_server)], "tls": {**SNI, "ca_file": other_ca}, "health_checks": checks()}, False),
        ({"targets": [at(tls_server)], "tls": {**SNI, "sni": "no.internal"}, "health_checks": checks()}, False),
        # Each target asked by its own name.
        (
            {
                "targets": [at(tls_server, host="payments.internal")],
                "tls": {"ca_file": CA_FILE},
                "health_checks": checks(),
            },
            True,
        ),
        (
            {
                "targets": [at(tls_server, host="other.internal")],
                "tls": {"ca_file": CA_FILE},
                "health_checks": checks(),
            },
            False,
        ),
        **names,
    )
    assert {seen.path for seen in tls_server.received} == {"/", "/s"}
    assert {seen.server_name for seen in tls_server.received} == {"payments.internal"}


@pytest.mark.feature(SECTION, "https probes of targets whose traffic is plaintext use TLS of their own")
def test_https_probes_of_plaintext_targets(
    rig: ServedUpstreams, server: RecordingServer, tls_server: RecordingServer
) -> None:
    own = {"port": tls_server.port}
    targets = [at(server, health_check=own)]
    good, *_ = judged(
        rig,
        ({"targets": targets, "health_checks": checks(type="https", path="/probe", tls=SNI)}, True),
        ({"targets": targets, "health_checks": checks(type="https", tls={"verify": False})}, True),
        ({"targets": targets, "health_checks": checks(type="https", tls={**SNI, "sni": "no.internal"})}, False),
        ({"targets": targets, "health_checks": checks()}, False),  # plain text to a port that wants TLS
        ({"targets": [at(server)], "health_checks": checks(type="https", tls={"verify": False})}, False),
    )
    assert rig.ask(good, "/traffic").status == 200
    assert [seen.path for seen in server.received if not seen.server_name] == ["/traffic"]
    assert ("/probe", "payments.internal") in {(seen.path, seen.server_name) for seen in tls_server.received}


@pytest.mark.feature(SECTION, "plaintext probes reach a plain port of targets whose traffic goes over TLS")
def test_plaintext_probes_of_tls_targets(
    rig: ServedUpstreams, server: RecordingServer, tls_server: RecordingServer
) -> None:
    plain = [at(tls_server, health_check={"port": server.port})]
    good, *_ = judged(
        rig,
        ({"targets": plain, "tls": SNI, "health_checks": checks(path="/probe", plaintext=True)}, True),
        ({"targets": plain, "tls": SNI, "health_checks": checks()}, False),  # TLS to a plain port
        ({"targets": [at(tls_server)], "tls": SNI, "health_checks": checks(plaintext=True)}, False),
        # A connection that is opened and closed is no handshake.
        ({"targets": [at(tls_server)], "tls": SNI, "health_checks": checks(type="tcp", plaintext=True)}, True),
    )
    assert rig.ask(good, "/traffic").status == 200
    assert [(seen.path, seen.server_name) for seen in tls_server.received] == [("/traffic", "payments.internal")]
    assert {seen.path for seen in server.received} == {"/probe"}


@pytest.mark.feature(SECTION, "probes may ask for another server name than the traffic does")
def test_probes_with_a_server_name_of_their_own(rig: ServedUpstreams, tls_server: RecordingServer) -> None:
    own = {**SNI, "sni": "probe.wild.internal"}
    (name,) = judged(
        rig, ({"targets": [at(tls_server)], "tls": SNI, "health_checks": checks(path="/p", tls=own)}, True)
    )
    assert rig.ask(name, "/traffic").status == 200
    asked = {(seen.path, seen.server_name) for seen in tls_server.received}
    assert asked == {("/p", "probe.wild.internal"), ("/traffic", "payments.internal")}


@pytest.mark.parametrize(("protocol", "first"), [("http1", b"GET /healthz HTTP/1.1"), ("http2", b"PRI * HTTP/2.0")])
@pytest.mark.feature(SECTION, "http probes speak HTTP/1.1 or HTTP/2, as the traffic does")
def test_probes_speak_what_the_target_speaks(rig: ServedUpstreams, protocol: str, first: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        there = {"host": "127.0.0.1", "port": listening.getsockname()[1]}
        rig.serve([there], protocol=protocol, health_checks=checks(path="/healthz", timeout="50ms"))
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(100).startswith(first)


@pytest.mark.feature(SECTION, "single targets are probed at a port, address and Host of their own, or not at all")
def test_settings_of_single_targets(rig: ServedUpstreams) -> None:
    with RecordingServer() as good, RecordingServer(status=503) as bad, RecordingServer() as other:
        targets = [
            at(good),
            at(bad, health_check={"port": other.port, "hostname": "other.example"}),
            {"host": "127.0.0.2", "port": 1, "health_check": {"address": "127.0.0.1", "port": good.port}},
            {"host": "127.0.0.3", "port": bad.port, "health_check": {"address": "127.0.0.1"}},
            {"host": "127.0.0.4", "port": 1, "health_check": {"disabled": True}},
        ]
        name = rig.serve(targets, health_checks=checks())
        healthy = dict.fromkeys((good.address, bad.address, "127.0.0.2:1", "127.0.0.4:1"), "HEALTHY")
        rig.envoy.wait_for_endpoints(name, {**healthy, f"127.0.0.3:{bad.port}": "FAILED_ACTIVE_HC"})
        rig.envoy.wait_until(lambda: other.received and bad.received, 5, "probes")
        assert {seen.headers["host"] for seen in other.received} == {"other.example"}
        assert {seen.headers["host"] for seen in good.received} == {name}


class GrpcHealth:
    """grpc.health.v1.Health/Check, which says SERVING or NOT_SERVING."""

    def __init__(self, serving: bool) -> None:
        self.asked: set[tuple[bytes, str]] = set()
        """Service and x-probe of each call."""
        answer = b"\x08\x01" if serving else b"\x08\x02"

        def check(request: bytes, context: Any) -> bytes:
            self.asked.add((request[2:], dict(context.invocation_metadata()).get("x-probe", "")))
            return answer

        handler = grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
        )
        self._server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(0).wait()


class Redis:
    """Greets, and answers PING as Redis does; anything else with silence."""

    def __init__(self) -> None:
        self.received: set[bytes] = set()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"ready\r\n")
                while line := self.rfile.readline():
                    outer.received.add(line)
                    if line == b"PING\r\n":
                        self.wfile.write(b"+PONG\r\n")

        self._server = _QuietTcp(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _QuietTcp(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that Envoy resets are not for the tests' output."""
