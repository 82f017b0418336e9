"""Raw bytes on every service: nothing that a client sends may hurt the server, or end a stream without saying why."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from live import request, serving
from scripted_client import listener, names_of, routes, web

from xds_server.testing.loop import run
from xds_server.xds import CLUSTER, Limits, Snapshot

SERVICES = (
    ("discovery.v3.AggregatedDiscoveryService", "AggregatedResources"),
    ("cluster.v3.ClusterDiscoveryService", "Clusters"),
    ("endpoint.v3.EndpointDiscoveryService", "Endpoints"),
    ("listener.v3.ListenerDiscoveryService", "Listeners"),
    ("route.v3.RouteDiscoveryService", "Routes"),
    ("route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes"),
    ("secret.v3.SecretDiscoveryService", "Secrets"),
    ("runtime.v3.RuntimeDiscoveryService", "Runtime"),
    ("extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs"),
)
METHODS = [f"/envoy.service.{name}/{kind}{suffix}" for name, suffix in SERVICES for kind in ("Stream", "Delta")]
FETCHES = [f"/envoy.service.{name}/Fetch{suffix}" for name, suffix in SERVICES[1:]]
STATUSES = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
LONGEST_REASON = 2_048
EXAMPLES = 800


def _node(**fields: Any) -> bytes:
    return discovery_pb2.DiscoveryRequest(node={"id": "n", **fields}, type_url=CLUSTER).SerializeToString()


def _deep(levels: int) -> bytes:
    """A node whose metadata is nested that deep: google.protobuf.Value in ListValue in Value …"""
    inner = b""
    for _ in range(levels):
        inner = _field(6, _field(1, inner))  # Value.list_value.values
    entry = _field(1, b"k") + _field(2, inner)
    return _field(2, _field(1, b"n") + _field(3, _field(1, entry))) + _field(4, CLUSTER.encode())


def _field(number: int, value: bytes) -> bytes:
    from xds_server.xds.resource import length_delimited

    return length_delimited(number, value)


HAND_MADE = {
    "empty": b"",
    "a zero": b"\x00",
    "no message": b"\xff" * 100,
    "half a message": request()[:-3],
    "text that is no UTF-8": _field(2, _field(1, b"n")) + _field(4, b"\xff\xfe"),
    "a name that is no UTF-8": _node() + _field(3, b"\xff\xfe"),
    "a length that lies": b"\x1a\xff\xff\xff\xff\x07",
    "a group that never ends": b"\x1b" * 1_000,
    "metadata nested 90 deep": _deep(90),
    "metadata nested 10,000 deep": _deep(10_000),
    "metadata that is no number": _node(metadata={"a": float("nan")}),
    "infinite metadata": _node(metadata={"a": float("inf")}),
    "a long id": _node(id="n" * 100_000),
    "an id of spaces": _node(id="  "),
    "an id with a null": _node(id="\x00"),
    "a type of 100 KB": request("t" * 100_000),
    "10,000 names": request(CLUSTER, *(f"n{i}" for i in range(10_000))),
    "the same name 10,000 times": request(CLUSTER, *["a"] * 10_000),
    "names of nothing": request(CLUSTER, "", "", "*", "**", "\x00"),
    "an answer to nothing": request(CLUSTER, response_nonce="17", error_detail={"code": 99, "message": "x" * 50_000}),
    "fields of the future": request() + _field(15_000, b"x") + b"\xf8\x07\x01",
    "locators": request(delta=True, resource_locators_subscribe=[{"name": "a"}]),
    "what it never held": request(delta=True, initial_resource_versions={"": "", "x" * 10_000: "1"}),
    "gone before it came": request(delta=True, resource_names_unsubscribe=["*", "", "a", "nobody"]),
}


class _Server:
    """One server for all examples, on the loop that runs beside the tests, and a good client of it."""

    def __init__(self) -> None:
        self._context = serving(limits=Limits(max_names=50_000, new_streams_per_second=0))

    def __enter__(self) -> "_Server":
        self.server, aio_channel = run(self._context.__aenter__())
        # A blocking client: one that writes to a stream that has ended is still told how it ended.
        self.channel = grpc.insecure_channel(aio_channel.address, options=[("grpc.max_send_message_length", -1)])
        names = ("a", "b")
        run(_publish(self.server, Snapshot.of([*web(*names), listener("l"), routes("r", *names)])))
        return self

    def __exit__(self, *error: Any) -> None:
        self.channel.close()
        run(self._context.__aexit__(None, None, None))

    def send(self, method: str, *raws: bytes) -> None:
        """Send these on one stream, and see that it ends as it should and that others are served."""
        try:
            for _ in self.channel.stream_stream(method)(iter(raws), timeout=30):
                pass
        except grpc.RpcError as error:
            assert_told(error)
        end = time.monotonic() + 20
        while self.server.open_streams and time.monotonic() < end:
            time.sleep(0.001)
        assert self.server.open_streams == 0
        (answer,) = self.channel.stream_stream(METHODS[0])(iter([request()]), timeout=30)
        assert names_of(discovery_pb2.DiscoveryResponse.FromString(answer)) == ["a", "b"]


def assert_told(error: Any) -> None:
    """The client is told what it did wrong, briefly."""
    assert error.code() in STATUSES, error
    assert 10 < len(error.details()) < LONGEST_REASON, error
    assert "Traceback" not in error.details()


async def _publish(server: Any, snapshot: Snapshot) -> None:
    server.set_snapshot(snapshot)


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    with _Server() as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does is worth a warning of ours, or of asyncio or gRPC."""
    caplog.set_level(logging.WARNING)
    yield
    said = [record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase)]
    assert said == []


@pytest.mark.parametrize("name", HAND_MADE)
def test_S6_P3_bytes_made_by_hand(server: _Server, name: str) -> None:
    for method in METHODS[:4]:
        server.send(method, HAND_MADE[name])
        server.send(method, request(delta="/Delta" in method), HAND_MADE[name])


def test_P3_a_message_that_is_too_long(server: _Server) -> None:
    server.send(METHODS[0], b"\x00" * (Limits().max_request_bytes + 1))


@pytest.mark.parametrize("method", FETCHES)
def test_S6_fetches_of_bytes(server: _Server, method: str) -> None:
    for raw in HAND_MADE.values():
        try:
            server.channel.unary_unary(method)(raw, timeout=30)
        except grpc.RpcError as error:
            assert_told(error)


def _requests() -> st.SearchStrategy[bytes]:
    """Sound requests, and what is left of them after an accident."""
    names = st.lists(st.sampled_from(["a", "b", "*", "", "nobody"]), max_size=4)
    nonces = st.sampled_from(["", "1", "2", "x"])
    types = st.sampled_from([CLUSTER, "", "type.googleapis.com/x.Y"])
    sound = st.builds(
        lambda delta, type_url, asked, nonce: request(type_url, *asked, delta=delta, response_nonce=nonce),
        st.booleans(), types, names, nonces,
    )  # fmt: skip

    def accident(raw: bytes, at: int, bit: int, how: str) -> bytes:
        at %= max(1, len(raw))
        if how == "cut":
            return raw[:at]
        if how == "flip" and raw:
            return raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
        return raw + raw[at:] if how == "more" else raw

    hurt = st.builds(
        accident, sound, st.integers(0, 500), st.integers(0, 7), st.sampled_from(["cut", "flip", "more", "none"])
    )
    return st.one_of(hurt, hurt, st.binary(max_size=200))


def test_S6_P3_bytes_at_random(server: _Server, record_property: Callable[[str, object], None]) -> None:
    number = random.SystemRandom().randrange(2**32)
    record_property("measured", f"{EXAMPLES} streams of random bytes, seed {number}")

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.sampled_from(METHODS), st.lists(_requests(), min_size=1, max_size=4))
    def fuzz(method: str, raws: list[bytes]) -> None:
        server.send(method, *raws)

    try:
        fuzz()
    except BaseException as error:
        error.add_note(f"seed {number}")
        raise
