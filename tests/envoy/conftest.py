"""What most files of behaviour tests begin with: upstreams on one Envoy, and backends. Some have a `rig` of their own."""

from collections.abc import Iterator

import pytest
from served_upstreams import ServedUpstreams

from xds_server.testing import Backends


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest) -> Iterator[ServedUpstreams]:
    with ServedUpstreams(request.path.stem.removeprefix("test_").replace("_", "-")) as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d") as started:
        yield started
