"""The gRPC API of the running control plane."""

from collections.abc import Iterator

import pytest
from management_grpc import Api

from xds_server.testing import XdsServerProcess


@pytest.fixture(scope="module")
def grpc_api(server: XdsServerProcess) -> Iterator[Api]:
    with Api(server.grpc_address) as api:
        yield api
