"""What a probe is, and what it takes for a good answer: requests that really arrived, and who is HEALTHY for them."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from probed_servers import GrpcHealth, Redis
from probing import judged, probed_by
from receiving_server import ReceivingServer
from served_upstreams import ServedUpstreams, target

from xds_server.testing import Backend

pytestmark = pytest.mark.envoy

SECTION = "Active health checks"


@pytest.fixture
def server() -> Iterator[ReceivingServer]:
    with ReceivingServer() as started:
        yield started


@pytest.mark.feature(SECTION, "a probe carries the path, method, Host, headers and body that are written")
def test_what_a_probe_looks_like(rig: ServedUpstreams, server: ReceivingServer) -> None:
    probe = {
        "path": "/probe?deep=1",
        "method": "POST",
        "host": "probe.example",
        "headers": {"x-probe": "100%", "Accept": "text/plain"},
        "body": "ping é",
    }
    judged(rig, ({"targets": [target(server)], "health_checks": probed_by(**probe)}, True))
    seen = server.received[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", "/probe?deep=1", "ping é".encode())
    assert (seen.headers["host"], seen.headers["x-probe"], seen.headers["accept"]) == (
        "probe.example",
        "100%",
        "text/plain",
    )


@pytest.mark.feature(SECTION, "without further words a probe is GET / with the upstream's name as its Host")
def test_what_a_probe_is_by_default(rig: ServedUpstreams, server: ReceivingServer) -> None:
    (name,) = judged(rig, ({"targets": [target(server)], "health_checks": {"active": {}}}, True))
    seen = server.received[0]
    assert (seen.method, seen.path, seen.headers["host"], seen.body) == ("GET", "/", name, b"")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods(rig: ServedUpstreams, server: ReceivingServer, method: str) -> None:
    body = {"body": "x"} if method in ("OPTIONS", "PUT", "PATCH") else {}
    judged(rig, ({"targets": [target(server)], "health_checks": probed_by(method=method, **body)}, True))
    assert (server.received[0].method, server.received[0].body) == (method, b"x" if body else b"")


@pytest.mark.feature(SECTION, "statuses that are expected, one by one or as ranges, are healthy, all others are not")
def test_expected_statuses(rig: ServedUpstreams, server: ReceivingServer) -> None:
    server.status = 302
    expected = {
        (302,): True,
        ("200-299",): False,
        ("200-299", 302): True,
        (404, "300-303"): True,
        ("200-301", "303-599"): False,
        (200,): False,
    }
    judged(
        rig,
        *(
            ({"targets": [target(server)], "health_checks": probed_by(expected_statuses=list(statuses))}, good)
            for statuses, good in expected.items()
        ),
    )


@pytest.mark.feature(
    SECTION, "the texts of expected_body must all be in the answer, in their order, up to 64 KiB into it"
)
def test_expected_body(rig: ServedUpstreams, server: ReceivingServer) -> None:
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
            ({"targets": [target(server)], "health_checks": probed_by(expected_body=list(body))}, good)
            for body, good in expected.items()
        ),
    )


@pytest.mark.feature(SECTION, "a tcp probe is a connection: a port that nobody listens on is unhealthy")
def test_tcp_probes_connect(rig: ServedUpstreams) -> None:
    with Backend("a") as a, Backend("b") as b:
        b.close()
        fields: dict[str, Any] = {"protocol": "tcp", "health_checks": probed_by(type="tcp")}
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
                ({"protocol": "tcp", "targets": [target(redis)], "health_checks": probed_by(**probe)}, good)
                for probe, good in cases
            ),
        )
        assert redis.received >= {b"PING\r\n", b"QUIT\r\n"}


@pytest.mark.feature(SECTION, "targets of plain TCP can be probed by HTTP on a port of their own")
def test_http_probes_of_plain_tcp(rig: ServedUpstreams, server: ReceivingServer) -> None:
    server.status = 503
    with Redis() as redis, ReceivingServer() as good:
        fields: dict[str, Any] = {"protocol": "tcp", "health_checks": probed_by(path="/primary")}
        judged(
            rig,
            ({"targets": [target(redis, health_check={"port": good.port})], **fields}, True),
            ({"targets": [target(redis, health_check={"port": server.port})], **fields}, False),
        )
    assert good.received[0].path == "/primary"


@pytest.mark.feature(
    SECTION, "a grpc probe asks grpc.health.v1 for the service, with a Host and headers as metadata, and wants SERVING"
)
def test_grpc_probes(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        good, bad, plain = (stack.enter_context(GrpcHealth(serving)) for serving in (True, False, True))
        probe = {"type": "grpc", "service": "shop.v1.Orders", "host": "probe.example", "headers": {"X-Probe": "1"}}
        fields: dict[str, Any] = {"protocol": "http2", "health_checks": probed_by(**probe)}
        *_, name = judged(
            rig,
            ({"targets": [target(good)], **fields}, True),
            ({"targets": [target(bad)], **fields}, False),
            ({"targets": [target(plain)], "protocol": "http2", "health_checks": probed_by(type="grpc")}, True),
        )
        assert good.asked == {(b"shop.v1.Orders", "probe.example", "1")}
        assert plain.asked == {(b"", name, "")}


@pytest.mark.parametrize(("protocol", "first"), [("http1", b"GET /healthz HTTP/1.1"), ("http2", b"PRI * HTTP/2.0")])
@pytest.mark.feature(SECTION, "http probes speak HTTP/1.1 or HTTP/2, as the traffic does")
def test_probes_speak_what_the_target_speaks(rig: ServedUpstreams, protocol: str, first: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        there = {"host": "127.0.0.1", "port": listening.getsockname()[1]}
        rig.serve([there], protocol=protocol, health_checks=probed_by(path="/healthz", timeout="50ms"))
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(100).startswith(first)


@pytest.mark.feature(SECTION, "single targets are probed at a port, address and Host of their own, or not at all")
def test_settings_of_single_targets(rig: ServedUpstreams) -> None:
    with ReceivingServer() as good, ReceivingServer(status=503) as bad, ReceivingServer() as other:
        targets = [
            target(good),
            target(bad, health_check={"port": other.port, "hostname": "other.example"}),
            {"host": "127.0.0.2", "port": 1, "health_check": {"address": "127.0.0.1", "port": good.port}},
            {"host": "127.0.0.3", "port": bad.port, "health_check": {"address": "127.0.0.1"}},
            {"host": "127.0.0.4", "port": 1, "health_check": {"disabled": True}},
        ]
        name = rig.serve(targets, health_checks=probed_by())
        healthy = dict.fromkeys((good.address, bad.address, "127.0.0.2:1", "127.0.0.4:1"), "HEALTHY")
        rig.envoy.wait_for_endpoints(name, {**healthy, f"127.0.0.3:{bad.port}": "FAILED_ACTIVE_HC"})
        rig.envoy.wait_until(lambda: other.received and bad.received, 5, "probes")
        assert {seen.headers["host"] for seen in other.received} == {"other.example"}
        assert {seen.headers["host"] for seen in good.received} == {name}
