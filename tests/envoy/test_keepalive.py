"""Connections to targets between requests: how long they are kept, as the targets and the kernel see it."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, read_exactly
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, send

pytestmark = pytest.mark.envoy

SECTION = "Limits, retries and timeouts"
KEEPALIVE: dict[str, dict[str, Any]] = {
    "usual": {},
    "idle": {"idle_timeout": "300ms"},
    "few": {"max_requests": 2},
    "young": {"max_duration": "300ms"},
    "probed": {"tcp": {"time": "60s", "interval": "10s", "probes": 3}},
}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _HEADERS, _ACK, _END = 4, 6, 1, 1, 5
_STATUS_200 = b"\x88"


class Mute:
    """An HTTP/2 target that answers requests, and no pings."""

    def __init__(self) -> None:
        self.pings = 0

    def __call__(self, connection: socket.socket) -> None:
        read_exactly(connection, len(_PREFACE))
        connection.sendall(_frame(_SETTINGS))
        while True:
            header = read_exactly(connection, 9)
            kind, flags, stream = header[3], header[4], header[5:]
            read_exactly(connection, int.from_bytes(header[:3]))
            if kind == _HEADERS:
                connection.sendall(_frame(_HEADERS, _END, stream, _STATUS_200))
            elif kind == _SETTINGS and not flags & _ACK:
                connection.sendall(_frame(_SETTINGS, _ACK))
            elif kind == _PING:
                self.pings += 1


def _frame(kind: int, flags: int = 0, stream: bytes = b"\0" * 4, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream + payload


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends(*KEEPALIVE) as started:
        yield started


@pytest.fixture(scope="module")
def mute() -> Mute:
    return Mute()


@pytest.fixture(scope="module")
def envoy(backends: Backends, mute: Mute) -> Iterator[TranslatedEnvoy]:
    with ExitStack() as stack:
        server = stack.enter_context(RawServer(mute))
        envoy = stack.enter_context(TranslatedEnvoy())
        upstreams: list[dict[str, Any]] = [
            {"name": name, "keepalive": fields, "targets": [{"host": "127.0.0.1", "port": backends[name].port}]}
            for name, fields in KEEPALIVE.items()
        ]
        http2 = {"protocol": "http2", "targets": [server.target]}
        upstreams += [{"name": "pinged", **http2, "keepalive": {"http2": {"interval": "400ms", "timeout": "400ms"}}}]
        upstreams += [{"name": "not-pinged", **http2}]
        envoy.serve_with_gateways({"upstreams": upstreams})
        yield envoy


@pytest.mark.feature(SECTION, "connections are closed when idle or old, and not used for more requests than allowed")
def test_connections_are_kept_as_long_as_is_said(envoy: TranslatedEnvoy, backends: Backends) -> None:
    port = envoy.port("public")
    for name in KEEPALIVE:
        assert send(port, name, 6) == {name: 6}
    assert backends["few"].accepted == 3
    for name in ("idle", "young"):
        envoy.envoy.wait_until(lambda n=name: backends[n].connections == 0, 10, f"the end of connections of {name}")
    assert (backends["usual"].accepted, backends["usual"].connections) == (1, 1)


@pytest.mark.feature(SECTION, "TCP keepalive is set on the connections to targets")
def test_the_kernel_probes_connections(envoy: TranslatedEnvoy, backends: Backends) -> None:
    for name in ("probed", "usual"):
        assert send(envoy.port("public"), name, 1) == {name: 1}
    assert _keepalive_timer(backends["probed"].port)
    assert not _keepalive_timer(backends["usual"].port)


def _keepalive_timer(port: int) -> bool:
    """Whether the kernel counts towards a keepalive probe on a connection to a port of this machine, below 60 s."""
    connections = re.findall(
        rf"^ *\d+: \w+:\w+ 0100007F:{port:04X} 01 \w+:\w+ (\d\d):(\w+)", Path("/proc/net/tcp").read_text(), re.MULTILINE
    )
    assert connections
    return all(timer == "02" and 0 < int(left, 16) <= 60 * 100 for timer, left in connections)


@pytest.mark.feature(SECTION, "an HTTP/2 connection on which no ping is answered is closed")
def test_http2_connections_are_pinged(envoy: TranslatedEnvoy, mute: Mute) -> None:
    assert envoy.ask("not-pinged").status == 200
    assert mute.pings == 0
    assert envoy.ask("pinged").status == 200
    envoy.envoy.wait_until(lambda: envoy.envoy.stat("cluster.pinged.http2.keepalive_timeout"), 10, "a lost ping")
    assert mute.pings >= 1
    assert envoy.ask("pinged").status == 200, "over a new connection"
    assert envoy.envoy.stat("cluster.not-pinged.upstream_cx_active") == 1
