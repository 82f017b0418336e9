"""A fleet of scripted clients, in both variants of the protocol."""

import pytest
from joined import JoinedFleet
from scripted_client import web


@pytest.fixture
def fleet() -> JoinedFleet:
    return JoinedFleet(*web("a", "b"))


@pytest.fixture(params=[False, True], ids=["sotw", "delta"])
def delta(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
