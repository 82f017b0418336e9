"""Targets and gateways with IPv6 addresses: HTTP, plain TCP, TLS and probes."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from raw_server import RawServer, connect, echo, read_exactly
from rig import free_port
from tls_backend import MESH, TlsBackend
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backend


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


pytestmark = [pytest.mark.envoy, pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")]

SECTION = "Addresses and DNS"


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend("six", host="::1") as started:
        yield started


@pytest.fixture(scope="module")
def gateway_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def envoy(backend: Backend, gateway_port: int) -> Iterator[TranslatedEnvoy]:
    with ExitStack() as stack:
        raw = stack.enter_context(RawServer(echo, host="::1"))
        tls = stack.enter_context(TlsBackend(MESH / "b", host="::1"))
        started = stack.enter_context(TranslatedEnvoy())
        target = {"host": "::1", "port": backend.port}
        probes = {"active": {"path": "/healthz", "interval": "100ms"}}
        # The certificate carries the address: it is asked for by name, and believed for its address.
        verified = {"ca_file": str(MESH / "ca.pem"), "sni": "b.internal", "subject_alt_names": ["::1"]}
        upstreams: list[dict[str, Any]] = [
            {"name": "six-http", "targets": [target], "host_header": "target", "health_checks": probes},
            {"name": "six-tls", "targets": [tls.target], "tls": verified},
            {"name": "six-tcp", "targets": [raw.target], "protocol": "tcp"},
        ]
        gateways = [
            {"name": "public", "address": "127.0.0.1", "port": free_port()},
            {"name": "six", "address": "::1", "port": gateway_port, "upstream": "six-tcp"},
        ]
        started.serve({"upstreams": upstreams, "gateways": gateways})
        assert not [event for event in started.events if event.kind == "rejected"]
        yield started


@pytest.mark.feature(SECTION, "IPv6 targets get HTTP requests, and their address as the Host where that is wanted")
def test_http(envoy: TranslatedEnvoy, backend: Backend) -> None:
    assert envoy.ask("six-http").backend == "six"
    assert backend.last_host == "[::1]"


@pytest.mark.feature(SECTION, "IPv6 targets are probed")
def test_probes(envoy: TranslatedEnvoy, backend: Backend) -> None:
    address = f"[::1]:{backend.port}"
    envoy.envoy.wait_for_endpoints("six-http", {address: "HEALTHY"})
    backend.healthy = False
    try:
        envoy.envoy.wait_for_endpoints("six-http", {address: "FAILED_ACTIVE_HC"})
    finally:
        backend.healthy = True
    envoy.envoy.wait_for_endpoints("six-http", {address: "HEALTHY"})
    assert backend.probes > 0


@pytest.mark.feature(SECTION, "IPv6 targets are reached by TLS, by certificates for their address too")
def test_tls(envoy: TranslatedEnvoy) -> None:
    answer = envoy.ask("six-tls")
    assert (answer.status, answer.backend) == (200, "b")


@pytest.mark.feature(SECTION, "plain TCP goes from an IPv6 gateway to an IPv6 target")
def test_tcp(envoy: TranslatedEnvoy, gateway_port: int) -> None:
    with connect(gateway_port, address="::1") as connection:
        connection.sendall(b"six")
        assert read_exactly(connection, 3) == b"six"
