"""Ejection by shares of failed RPCs, which gRPC clients follow as it is written."""

from typing import Any

import grpc
import pytest
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target

Backends = tuple[GrpcBackend, ...]
SOON = {"interval": "300ms", "ejection_time": "60s"}


@pytest.mark.parametrize(
    "passive",
    [
        # So many errors in a row there never are.
        {
            "consecutive_errors": 1_000_000,
            "failure_percentage": {"threshold": 50, "minimum_hosts": 1, "request_volume": 5},
        },
        # The root of 2 deviations below the mean is what one of three can be.
        {"consecutive_errors": 0, "success_rate": {"stdev_factor": 1000, "minimum_hosts": 3, "request_volume": 5}},
    ],
    ids=["failure-percentage", "success-rate"],
)
def test_a_target_is_ejected_by_its_share_of_failures(
    control_plane: Product, app: GrpcClient, backends: Backends, passive: dict[str, Any]
) -> None:
    a, *_ = backends
    a.fails_with = grpc.StatusCode.UNAVAILABLE
    name = f"ejected-by-{list(passive)[-1].replace('_', '-')}"
    control_plane.upstream(name, *map(target, backends), health_checks={"passive": {**SOON, **passive}})
    app.load(name)
    app.load_until(lambda _: a.calls, "begun")
    while app.load_until(lambda _: True, "under way").errors:
        pass  # until it is ejected, which the test's own time limits
    outcome = app.load_until(lambda backends: backends["b"] and backends["c"], "the others")
    assert outcome.backends.keys() == {"b", "c"}
    assert not outcome.errors
    app.end_load()
