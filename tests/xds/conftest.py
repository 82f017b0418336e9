import pytest
from scripted_client import Client, client

from xds_server.xds.delta import DeltaStream
from xds_server.xds.sotw import SotwStream


@pytest.fixture
def sotw() -> Client:
    return client(SotwStream)


@pytest.fixture
def delta() -> Client:
    return client(DeltaStream)


@pytest.fixture(params=["sotw", "delta"])
def either(request: pytest.FixtureRequest) -> Client:
    return client(SotwStream if request.param == "sotw" else DeltaStream)
