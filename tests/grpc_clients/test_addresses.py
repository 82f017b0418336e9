"""Targets by host name: gRPC clients are given the addresses that Envoys are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dns_server import DnsServer
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product

AT_ONCE = {"min_ttl": "100ms", "linger": "0s"}


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.mark.feature("Addresses and DNS", "gRPC clients follow names and SRV records as Envoys do")
def test_names_and_srv_records(
    names: DnsServer, backends: tuple[GrpcBackend, GrpcBackend, GrpcBackend], tmp_path: Path
) -> None:
    a, b, c = backends
    names.set("plain.test", A=[a.host], ttl=0)
    names.set("_grpc._tcp.test", SRV=[f"10 1 {b.port} b.test.", f"20 1 {c.port} c.test."], ttl=0)
    names.set("b.test", A=[b.host], ttl=0)
    names.set("c.test", A=[c.host], ttl=0)
    with Product(tmp_path, args=["--dns-servers", names.address]) as product:
        product.upstream("plain", {"host": "plain.test", "port": a.port}, dns=AT_ONCE)
        product.upstream("srv", {"host": "_grpc._tcp.test", "port": "srv"}, dns=AT_ONCE)
        with GrpcClient(product.xds_address) as app:
            assert app.send("plain", 10).backends == {"a": 10}
            assert app.send("srv", 10).backends == {"b": 10}
            names.faults["plain.test"] = "NXDOMAIN"
            names.set("_grpc._tcp.test", SRV=[f"20 1 {c.port} c.test."], ttl=0)
            app.reach("srv", "c")
            assert app.send("srv", 10).backends == {"c": 10}
            assert app.send("plain", 10).backends == {"a": 10}
