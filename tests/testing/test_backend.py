import http.client
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from xds_server.testing import Backend, Backends, request, send


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_answers_its_name_and_counts() -> None:
    with Backend("a") as backend:
        answer = request(backend.port, "some.host", "/path?x=1", headers={"X-One": "1"})
        assert (answer.status, answer.backend, answer.body) == (200, "a", b"a")
        assert (backend.count, backend.last_path, backend.last_host) == (1, "/path?x=1", "some.host")
        assert backend.last_headers["x-one"] == "1"
        backend.reset()
        assert backend.count == 0


def test_probes_are_counted_apart_and_can_be_flipped() -> None:
    with Backend() as backend:
        assert request(backend.port, "h", "/healthz").status == 200
        backend.healthy = False
        assert request(backend.port, "h", "/healthz").status == 503
        assert (backend.count, backend.probes) == (0, 2)


def test_fails_until_it_recovers() -> None:
    with Backend() as backend:
        backend.fail(502)
        assert [request(backend.port, "h", path).status for path in ("/", "/healthz")] == [502, 503]
        backend.recover()
        assert [request(backend.port, "h", path).status for path in ("/", "/healthz")] == [200, 200]


def test_waits_before_it_answers() -> None:
    with Backend(delay=0.2) as backend, ThreadPoolExecutor() as pool:
        started = time.monotonic()
        answer = pool.submit(request, backend.port, "h")
        wait_until(lambda: backend.active == 1)
        assert answer.result().status == 200
        assert time.monotonic() - started >= 0.2
        assert backend.active == 0


def test_one_path_may_fail() -> None:
    with Backend("a") as backend:
        statuses = [request(backend.port, "h", path).status for path in ("/status/500", "/", "/status/404")]
        assert statuses == [500, 200, 404]


def test_streams_chunks_over_time() -> None:
    with Backend("a") as backend:
        connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=5)
        started = time.monotonic()
        connection.request("GET", "/stream?chunks=3&every=0.1")
        answer = connection.getresponse()
        assert answer.readline() == b"a 0\n"
        first = time.monotonic() - started
        assert answer.read() == b"a 1\na 2\n"
        assert time.monotonic() - started >= first + 0.2
        connection.close()


def test_a_stream_may_go_on_until_it_is_ended() -> None:
    with Backend("a") as backend:
        connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=5)
        connection.request("GET", "/stream?chunks=0&every=0.01")
        answer = connection.getresponse()
        assert [answer.readline() for _ in range(9)][-1] == b"a 8\n"
        backend.streaming = False
        rest = answer.read().splitlines()
        assert rest == [f"a {number}".encode() for number in range(9, 9 + len(rest))]
        connection.close()


def test_reads_bodies_and_keeps_the_connection() -> None:
    with Backend("a") as backend:
        connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=5)
        for body in (b"x" * 100_000, iter([b"chunk", b"ed"]), None):
            connection.request("POST", "/", body)
            assert connection.getresponse().read() == b"a"
        assert (backend.count, backend.connections) == (3, 1)
        connection.close()


def test_close_breaks_connections_and_start_takes_the_port_again() -> None:
    with Backend() as backend:
        with socket.create_connection(("127.0.0.1", backend.port), timeout=5) as client:
            wait_until(lambda: backend.connections == 1)
            backend.close()
            assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            request(backend.port, "h")
        backend.close()
        backend.start()
        assert request(backend.port, "h").status == 200


def test_what_is_not_http_costs_only_its_connection() -> None:
    with Backend() as backend:
        for nonsense in (b"\x16\x03\x01\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", backend.port), timeout=5) as client:
                client.sendall(nonsense)
                assert client.recv(100) == b""
        assert request(backend.port, "h").status == 200


def test_ipv6() -> None:
    with Backend(host="::1") as backend:
        assert backend.address == f"[::1]:{backend.port}"
        assert request(backend.port, "h", address="::1").status == 200


def test_a_taken_port_is_an_error() -> None:
    with Backend() as taken, pytest.raises(OSError, match="in use"):
        Backend(port=taken.port).start()


def test_several() -> None:
    with Backends("a", "b") as backends:
        send(backends["a"].port, "h", 3)
        assert backends.counts == {"a": 3, "b": 0}
        backends.reset()
        assert backends.counts == {"a": 0, "b": 0}
        ports = [backend.port for backend in backends]
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            request(port, "h")
