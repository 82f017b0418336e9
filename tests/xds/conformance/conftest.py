"""Streams of every shape: both variants, aggregated and per type."""

from collections.abc import Callable

import pytest
from scripted_client import Client, client

from xds_server.xds.delta import DeltaStream
from xds_server.xds.sotw import SotwStream

Open = Callable[[str], Client]


@pytest.fixture(params=["sotw-ads", "sotw-per-type", "delta-ads", "delta-per-type"])
def stream_of(request: pytest.FixtureRequest) -> Open:
    """Opens a stream on which a type may be asked for."""
    kind = SotwStream if request.param.startswith("sotw") else DeltaStream
    return lambda type_url: client(kind, type_url if request.param.endswith("per-type") else None)


@pytest.fixture(params=["ads", "per-type"])
def delta_of(request: pytest.FixtureRequest) -> Open:
    """As `stream_of`, incremental only."""
    return lambda type_url: client(DeltaStream, type_url if request.param == "per-type" else None)
