"""Protocols through a gateway: gRPC, WebSockets, and the PROXY protocol by which targets learn who asks."""

import base64
import contextlib
import queue
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_backends import GrpcBackend
from raw_server import RawServer, connect, echo, read_exactly, read_until
from tls_backend import CERTIFICATES
from translated_envoy import TranslatedEnvoy

pytestmark = pytest.mark.envoy

SECTION = "Protocols and TLS"
LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def upgrade(connection: socket.socket) -> None:
    """Take any upgrade, and then send back what comes."""
    head = read_until(connection, b"\r\n\r\n").decode().lower()
    if "upgrade: websocket" not in head:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        return
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    echo(connection)


def client_of(connection: socket.socket) -> str:
    """Read the PROXY protocol: its version and who asks, ``v1 127.0.0.1``; or ``local`` for the sender itself."""
    start = read_exactly(connection, 6)
    if start == b"PROXY ":
        return "v1 " + read_until(connection, b"\r\n").decode().split(" ")[1]
    assert start + read_exactly(connection, 6) == V2
    command, _, *length = read_exactly(connection, 4)
    rest = read_exactly(connection, int.from_bytes(bytes(length)))
    return f"v2 {socket.inet_ntoa(rest[:4])}" if command == 0x21 else "local"


def answer_who_asks(connection: socket.socket) -> None:
    """HTTP behind the PROXY protocol: each answer is the client that it named."""
    answer_requests(connection, client_of(connection))


def answer_who_asks_inside_tls(connection: socket.socket) -> None:
    """The same with TLS in between."""
    client = client_of(connection)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    with context.wrap_socket(connection, server_side=True) as inner:
        answer_requests(inner, client)


def answer_requests(connection: socket.socket, text: str) -> None:
    while True:
        read_until(connection, b"\r\n\r\n")
        connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())


@pytest.fixture(scope="module")
def grpc_backend() -> Iterator[GrpcBackend]:
    with GrpcBackend("g") as started:
        yield started


@pytest.fixture(scope="module")
def secure_backend() -> Iterator[GrpcBackend]:
    pair = ((CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes())
    with GrpcBackend("secure", grpc.ssl_server_credentials([pair])) as started:
        yield started


@pytest.fixture(scope="module")
def envoy(grpc_backend: GrpcBackend, secure_backend: GrpcBackend) -> Iterator[TranslatedEnvoy]:
    with ExitStack() as stack:
        sockets = stack.enter_context(RawServer(upgrade))
        plain = stack.enter_context(RawServer(answer_who_asks))
        inside = stack.enter_context(RawServer(answer_who_asks_inside_tls))
        started = stack.enter_context(TranslatedEnvoy())
        tls = {"sni": "payments.internal", "ca_file": str(CERTIFICATES / "ca.pem")}
        probed = {"health_checks": {"active": {"interval": "100ms"}}}
        grpc_target = {"host": grpc_backend.host, "port": grpc_backend.port}
        secure_target = {"host": secure_backend.host, "port": secure_backend.port}
        upstreams: list[dict[str, Any]] = [
            {"name": "grpc", "protocol": "http2", "targets": [grpc_target]},
            {"name": "by-alpn", "protocol": "auto", "tls": tls, "targets": [secure_target]},
            {"name": "grpc-nobody", "protocol": "http2"},
            {"name": "websocket", "targets": [sockets.target]},
            {"name": "who-v1", "proxy_protocol": "v1", "targets": [plain.target], **probed},
            {"name": "who-v2", "proxy_protocol": "v2", "targets": [plain.target], **probed},
            {"name": "who-tls", "proxy_protocol": "v2", "targets": [inside.target], "tls": tls, **probed},
            {"name": "who-tcp", "proxy_protocol": "v2", "targets": [plain.target], "protocol": "tcp"},
        ]
        started.serve_with_gateways({"upstreams": upstreams})
        assert not [event for event in started.events if event.kind == "rejected"]
        yield started


@contextlib.contextmanager
def channel(envoy: TranslatedEnvoy, listener: str, upstream: str) -> Iterator[Any]:
    options = [("grpc.default_authority", upstream), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{envoy.port(listener)}", options=options) as opened:
        yield opened


@LISTENERS
@pytest.mark.feature(SECTION, "gRPC passes: unary calls, their trailers and their statuses")
def test_unary_calls(envoy: TranslatedEnvoy, grpc_backend: GrpcBackend, listener: str) -> None:
    with channel(envoy, listener, "grpc") as opened:
        call = opened.unary_unary("/test.Echo/Call")
        answer, done = call.with_call(b"", timeout=10)
        assert answer == b"g"
        assert ("x-backend", "g") in list(done.trailing_metadata())
        grpc_backend.fails_with = grpc.StatusCode.FAILED_PRECONDITION
        try:
            with pytest.raises(grpc.RpcError) as failed:
                call(b"", timeout=10)
        finally:
            grpc_backend.fails_with = None
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert failed.value.details() == "g was told to"
    with channel(envoy, listener, "grpc-nobody") as opened, pytest.raises(grpc.RpcError) as nobody:
        opened.unary_unary("/test.Echo/Call")(b"", timeout=10)
    assert nobody.value.code() is grpc.StatusCode.UNAVAILABLE


@LISTENERS
@pytest.mark.feature(SECTION, "with protocol auto, targets that offer HTTP/2 by ALPN are spoken to in it")
def test_http2_by_alpn(envoy: TranslatedEnvoy, listener: str) -> None:
    with channel(envoy, listener, "by-alpn") as opened:
        assert opened.unary_unary("/test.Echo/Call")(b"", timeout=10) == b"secure"


@LISTENERS
@pytest.mark.feature(SECTION, "gRPC passes: streams in both directions, message by message")
def test_streams(envoy: TranslatedEnvoy, listener: str) -> None:
    with channel(envoy, listener, "grpc") as opened:
        said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        answers = opened.stream_stream("/test.Echo/Chat")(iter(said.get, None), timeout=10)
        for number in range(5):
            said.put(b"%d" % number)
            assert next(answers) == b"%d" % number
        said.put(None)
        assert list(answers) == []


@LISTENERS
@pytest.mark.feature(SECTION, "gRPC passes: a deadline ends the call, at the client and at the target")
def test_deadlines(envoy: TranslatedEnvoy, grpc_backend: GrpcBackend, listener: str) -> None:
    before = grpc_backend.cancelled
    with channel(envoy, listener, "grpc") as opened:
        stream = opened.unary_stream("/test.Echo/Stream")(b"", timeout=2)
        assert next(stream) == b"g"
        with pytest.raises(grpc.RpcError) as late:
            next(stream)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        envoy.envoy.wait_until(lambda: grpc_backend.cancelled > before, 10, "the target to hear of it")


@LISTENERS
@pytest.mark.feature(SECTION, "WebSockets pass, in both directions")
def test_websockets(envoy: TranslatedEnvoy, listener: str) -> None:
    key = base64.b64encode(b"0123456789abcdef").decode()
    head = f"GET / HTTP/1.1\r\nhost: websocket\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: {key}\r\n"
    with connect(envoy.port(listener)) as connection:
        connection.sendall(f"{head}sec-websocket-version: 13\r\n\r\n".encode())
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        for message in (b"one", b"two" * 1000):
            connection.sendall(message)
            assert read_exactly(connection, len(message)) == message


def who(port: int, host: str, source: str, times: int = 1) -> list[str]:
    """Who the target was told to ask, for each of several requests over one connection."""
    found = []
    with connect(port, source=source) as connection:
        for _ in range(times):
            connection.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = read_until(connection, b"\r\n\r\n").decode()
            length = re.search(r"content-length: (\d+)", head)
            assert length is not None
            found.append(read_exactly(connection, int(length[1])).decode())
    return found


@pytest.mark.feature(
    SECTION, "by the PROXY protocol, v1 and v2, with TLS and without, targets learn the client's address"
)
@pytest.mark.parametrize("name", ["who-v1", "who-v2", "who-tls", "who-tcp"])
def test_targets_learn_who_asks(envoy: TranslatedEnvoy, name: str) -> None:
    port, version = envoy.port("who-tcp" if name == "who-tcp" else "public"), "v1" if name == "who-v1" else "v2"
    for source in ("127.0.0.21", "127.0.0.22", "127.0.0.21"):
        assert who(port, name, source, times=2) == [f"{version} {source}"] * 2
    if name != "who-tcp":
        assert who(envoy.port("static"), name, "127.0.0.23") == [f"{version} 127.0.0.23"]


@pytest.mark.feature(SECTION, "probes begin with the PROXY protocol too")
@pytest.mark.parametrize("name", ["who-v1", "who-v2", "who-tls"])
def test_probes_say_who_asks_too(envoy: TranslatedEnvoy, name: str) -> None:
    """The targets read it before anything else."""
    envoy.envoy.wait_until(lambda: set(envoy.envoy.endpoints(name).values()) == {"HEALTHY"}, 10, "healthy targets")
    assert envoy.envoy.stat(f"cluster.{name}.health_check.success") >= 1
