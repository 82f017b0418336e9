"""What the gRPC client tests share: the product as their control plane; an application and backends for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_backends import GrpcBackend, GrpcBackends
from grpc_client import GrpcClient
from grpc_control_plane import Library, Product


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Shared by all tests: each has upstreams of its own names."""
    with Product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[Product]:
    """For tests that stop it."""
    with Product(tmp_path) as product:
        yield product


@pytest.fixture
def library() -> Iterator[Library]:
    with Library() as library:
        yield library


@pytest.fixture
def app(control_plane: Product) -> Iterator[GrpcClient]:
    """A gRPC application that is told of targets by `control_plane`."""
    with GrpcClient(control_plane.xds_address) as client:
        yield client


@pytest.fixture
def backends() -> Iterator[tuple[GrpcBackend, ...]]:
    with GrpcBackends("a", "b", "c") as backends:
        yield backends
