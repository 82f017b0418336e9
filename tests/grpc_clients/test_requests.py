"""What happens to one RPC: time limits, retries, limits, and targets that fail."""

import time

import grpc
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target

Backends = tuple[GrpcBackend, GrpcBackend, GrpcBackend]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_a_timeout_ends_rpcs_and_none_does_not(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, *_ = backends
    control_plane.upstream("limited", target(a), timeout="1s")
    control_plane.upstream("unlimited", target(a), timeout="0s")
    _, (unlimited,) = app.open("unlimited")
    started = time.monotonic()
    _, (limited,) = app.open("limited")
    assert app.finish(limited).statuses == {"DEADLINE_EXCEEDED": 1}
    assert 0.9 <= time.monotonic() - started <= 4, "not before, and at most 2 s after it"
    assert app.send("limited", 20).backends == {"a": 20}, "short RPCs are untouched"
    a.release()
    assert app.finish(unlimited).backends == {"a": 1}


def test_failed_rpcs_are_retried_as_often_as_allowed(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, *_ = backends
    a.fails_with = UNAVAILABLE
    control_plane.upstream("retried", target(a), retries={"attempts": 2, "on": ["5xx", "unavailable"]})
    control_plane.upstream("not-retried", target(a), retries={"attempts": 2})
    assert app.send("retried").statuses == {"UNAVAILABLE": 1}
    assert a.attempts == {"": 1, "1": 1, "2": 1}
    assert app.send("not-retried").statuses == {"UNAVAILABLE": 1}
    assert a.calls == 4, "an answer of the target is final unless its status is listed"
    (warning,) = control_plane.warnings("retried")
    assert warning == "retries.on: gRPC retries by its own status codes: not retried on 5xx (consider unavailable)"


def test_a_retry_goes_to_another_target(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, _ = backends
    control_plane.upstream("elsewhere", target(a), target(b), retries={"on": ["unavailable"]})
    app.reach("elsewhere", "a", "b")
    a.fails_with, a.calls = UNAVAILABLE, 0
    assert app.send("elsewhere", 20).backends == {"b": 20}
    assert a.calls >= 5


def test_more_than_four_retries_are_not_made(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, *_ = backends
    a.fails_with = UNAVAILABLE
    control_plane.upstream("often", target(a), retries={"attempts": 9, "on": ["unavailable"]})
    app.send("often")
    assert a.calls == 5


def test_requests_under_way_are_limited_only_where_said(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, b, _ = backends
    control_plane.upstream("unlimited-requests", target(a))
    control_plane.upstream("limited-requests", target(b), limits={"max_requests": 3, "max_connections": 9})
    opened, _ = app.open("unlimited-requests", 1100)
    assert opened.backends["a"] > 1024, "gRPC's own default"
    # Of so many streams at once the backend's grpc.aio may cancel one by itself, now and then.
    assert opened.statuses.keys() <= {"CANCELLED"}, "none was over a limit"
    opened, _ = app.open("limited-requests", 5)
    assert opened.backends == {"b": 3}
    assert opened.statuses == {"UNAVAILABLE": 2}
    assert control_plane.warnings("limited-requests") == [
        "limits.max_connections: gRPC clients know max_requests only: not limited"
    ]


def test_a_failing_target_is_ejected_and_comes_back(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, b, _ = backends
    a.fails_with = UNAVAILABLE
    passive = {"consecutive_errors": 5, "interval": "300ms", "ejection_time": "1s"}
    control_plane.upstream("ejecting", target(a), target(b), health_checks={"passive": passive})
    app.load("ejecting")
    app.load_until(lambda _: True, "under way")
    while True:
        outcome = app.load_until(lambda _: True, "under way")
        if not outcome.errors:
            break
    assert outcome.backends.keys() == {"b"}
    a.fails_with = None
    app.load_until(lambda backends: backends["a"], "back")
    assert not app.end_load().errors


def test_the_only_target_is_never_ejected(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, _ = backends
    a.fails_with = b.fails_with = UNAVAILABLE
    passive = {"passive": {"consecutive_errors": 5, "interval": "100ms"}}
    control_plane.upstream("sole", target(a), health_checks=passive)
    control_plane.upstream("sole-fails", target(b), health_checks=passive, on_all_unhealthy="fail")
    app.load("sole-fails")
    app.load_until(lambda _: b.calls, "begun")
    while any(error.startswith("UNAVAILABLE: b was told to") for error in app.load_until(lambda _: 1, "").errors):
        pass  # until it is ejected, which the other one has as much time for
    app.end_load()
    app.load("sole")
    for _ in range(5):
        outcome = app.load_until(lambda _: True, "under way")
        assert set(outcome.errors) == {"UNAVAILABLE: a was told to"}
    app.end_load()
