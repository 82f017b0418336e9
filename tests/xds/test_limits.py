"""What one client may cost: names, types, messages, new streams, and the age of a connection."""

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from live import DELTA, SOTW, ask, ended, read, request, serving
from scripted_client import Client, client, cluster, endpoints, names_of

from xds_server.xds import CLUSTER, ENDPOINTS, DiscoveryServer, Event, Limits, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.limits import GRPC_MESSAGE_BYTES, Turnstile
from xds_server.xds.sotw import SotwStream


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_P3_one_request_may_not_name_more_than_the_limit(method: str) -> None:
    async with serving(limits=Limits(max_names=10)) as (server, channel):
        server.set_snapshot(Snapshot.of([endpoints("a")]))
        call = await ask(channel, method, ENDPOINTS, *(f"n{i}" for i in range(11)))
        status, words = await ended(call)
        assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "11 resources" in words
        assert "10" in words
        fine = await ask(channel, method, ENDPOINTS, "a", *(f"n{i}" for i in range(9)))
        assert names_of(await read(fine, delta=method == DELTA)) == ["a"]


async def test_P3_a_stream_may_not_gather_more_names_than_the_limit() -> None:
    async with serving(limits=Limits(max_names=10)) as (server, channel):
        server.set_snapshot(Snapshot.of([endpoints("n0")]))
        call = await ask(channel, DELTA, ENDPOINTS, *(f"n{i}" for i in range(6)))
        await read(call, delta=True)
        await call.write(request(ENDPOINTS, *(f"m{i}" for i in range(6)), delta=True))
        assert (await ended(call))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_P3_what_a_returning_client_says_that_it_holds_counts_too() -> None:
    async with serving(limits=Limits(max_names=10)) as (server, channel):
        server.set_snapshot(Snapshot.of())
        held = {f"n{i}": "1" for i in range(11)}
        call = await ask(channel, DELTA, CLUSTER, initial_resource_versions=held)
        assert (await ended(call))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_P3_types_are_bounded_too() -> None:
    async with serving(limits=Limits(max_types=3)) as (server, channel):
        server.set_snapshot(Snapshot.of())
        call = await ask(channel, SOTW, "type.googleapis.com/x.0", "n")
        for number in range(1, 4):
            await call.write(request(f"type.googleapis.com/x.{number}", "n"))
        status, words = await ended(call)
        assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "3 types" in words


async def test_P2_B26_a_returning_client_may_send_much_and_not_everything() -> None:
    held = {f"cluster-{'x' * 100}-{i}": "0123456789abcdef" for i in range(65_000)}
    raw = request(CLUSTER, delta=True, initial_resource_versions=held)
    assert 8 * 2**20 < len(raw) < 16 * 2**20
    async with serving(limits=Limits(max_request_bytes=16 * 2**20)) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        call = channel.stream_stream(DELTA)()
        await call.write(raw)
        assert names_of(await read(call, delta=True)) == ["a"]
        assert len((await read(call, delta=True)).removed_resources) == len(held)
        await call.write(b"x" * (17 * 2**20))
        assert (await ended(call))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_limits_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="drain is -1: it cannot be negative"):
        Limits(drain=-1)
    with pytest.raises(ValueError, match="max_names is 0"):
        Limits(max_names=0)


def test_P10_the_turnstile_lets_a_burst_in_and_then_so_many_per_second() -> None:
    turnstile = Turnstile(rate=10, burst=3, longest_wait=0.25)
    waits = [turnstile.enter(100.0) for _ in range(8)]
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:6] == pytest.approx([0.1, 0.2])
    assert waits[6:] == [None, None], "who would wait too long is refused, and takes no turn from others"
    assert turnstile.enter(100.11) == pytest.approx(0.19)
    assert turnstile.enter(200.0) == 0


def test_P10_no_rate_is_no_limit() -> None:
    turnstile = Turnstile(rate=0, burst=0, longest_wait=0)
    assert {turnstile.enter(1.0) for _ in range(10_000)} == {0}


async def test_P10_new_streams_wait_for_their_turn_and_too_many_are_refused() -> None:
    async with serving(limits=Limits(new_streams_per_second=4, stream_wait=0.5)) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        ends = await asyncio.gather(*(_answered_or_status(channel) for _ in range(80)))
        # 8 at once and 2 within the wait, and what else comes due while they are opened.
        assert ends.count("answered") >= 10
        refused = Counter(end for end in ends if end != "answered")
        # Seen once on a busy machine, and not in 4,800 further calls: one that ended INTERNAL, for gRPC's own client it seems.
        assert refused.total() - refused[grpc.StatusCode.RESOURCE_EXHAUSTED] <= 2, refused
        assert refused


async def _answered_or_status(channel: Any) -> Any:
    call = channel.stream_stream(SOTW)()
    try:
        await call.write(request())
        await read(call)
    except (EOFError, grpc.aio.AioRpcError):
        return await call.code()
    return "answered"


async def test_P15_a_connection_of_age_is_told_to_come_back() -> None:
    async with serving(limits=Limits(max_connection_age=0.3, max_connection_grace=0.2)) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        call = await ask(channel)
        await read(call)
        status, words = await ended(call)
        assert status == grpc.StatusCode.UNAVAILABLE
        assert words
        assert names_of(await read(await ask(channel))) == ["a"], "the channel is good for the next stream"


async def test_P15_no_age_no_end() -> None:
    async with serving(limits=Limits(max_connection_age=0)) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        call = await ask(channel)
        await read(call)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await call.code()


async def test_P18_one_connection_carries_many_streams() -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        calls = [await ask(channel) for _ in range(500)]
        assert [names_of(await read(call)) for call in calls] == [["a"]] * 500


def big(name: str, bytes_: int) -> Resource:
    """An assignment of about that size."""
    from envoy.config.endpoint.v3 import endpoint_pb2

    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    message.endpoints.add().lb_endpoints.add().metadata.filter_metadata["x"].update({"y": "z" * bytes_})
    return Resource.encode(ENDPOINTS, name, message.SerializeToString())


def ask_as_grpc(made: Client, type_url: str, *names: str) -> list[Any]:
    from envoy.service.discovery.v3 import discovery_pb2

    message = discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names)
    message.node.id, message.node.user_agent_name = "app", "gRPC C-core"
    made.stream.receive(message)
    return made.sent()


def test_P1_B27_D34_answers_to_grpc_clients_are_split_below_what_they_take() -> None:
    made = client(SotwStream)
    made.publish(Snapshot.of([big(name, 1_500_000) for name in "abcde"]))
    first = ask_as_grpc(made, ENDPOINTS, *"abcde")
    assert [names_of(answer) for answer in first] == [["a", "b"]]
    second = made.ack(first[0], *"abcde")
    third = made.ack(second[0], *"abcde")
    assert [names_of(answer) for answer in (*second, *third)] == [["c", "d"], ["e"]]
    assert all(len(answer.SerializeToString()) < GRPC_MESSAGE_BYTES for answer in (*first, *second, *third))
    assert made.ack(third[0], *"abcde") == []
    assert made.sent(after=60) == []
    assert not [event for event in made.events if event.kind == "oversized"]


def test_P1_the_rest_follows_even_unacknowledged() -> None:
    made = client(SotwStream)
    made.publish(Snapshot.of([big(name, 3_000_000) for name in "ab"]))
    assert [names_of(answer) for answer in ask_as_grpc(made, ENDPOINTS, *"ab")] == [["a"]]
    assert [names_of(answer) for answer in made.sent(after=1.1)] == [["b"]]


def test_P1_envoy_gets_it_in_one() -> None:
    made = client(SotwStream)
    made.publish(Snapshot.of([big(name, 1_500_000) for name in "abcde"]))
    assert [names_of(answer) for answer in made.ask(ENDPOINTS, *"abcde")] == [list("abcde")]


def test_P1_what_cannot_be_split_is_told() -> None:
    made = client(SotwStream)
    made.publish(Snapshot.of([big("a", 5_000_000)]))
    ask_as_grpc(made, ENDPOINTS, "a")
    (event,) = [event for event in made.events if event.kind == "oversized"]
    assert event.names == ("a",)
    assert "gRPC clients take 4194304" in event.detail


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S12_nothing_is_said_of_who_answers_without_a_name(kind: Any) -> None:
    made = client(kind)
    made.publish(Snapshot.of([cluster("a")]))
    (answer,) = made.ask(CLUSTER)
    assert not answer.HasField("control_plane")


async def test_P4_a_reason_is_short_however_long_the_mistake() -> None:
    events: list[Event] = []
    async with serving(observe=events.append) as (server, channel):
        server.set_snapshot(Snapshot.of())
        method = "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"
        status, words = await ended(await ask(channel, method, "x" * 100_000))
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert len(words) < 1_200


async def test_calls_that_come_at_once_are_answered_however_many_wait() -> None:
    """By itself gRPC ends some (CANCELLED) of those that wait behind a thousand others, and all behind three thousand."""
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.of([cluster("a")]))
    port = await server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        fetch = channel.unary_unary("/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters")
        wanted = request(CLUSTER)
        await asyncio.to_thread(fetch, wanted, timeout=30)
        calls = [fetch.future(wanted, timeout=60) for _ in range(6_000)]  # the server does not look at any meanwhile
        codes = Counter(await asyncio.to_thread(lambda: [call.code() for call in calls]))
    await server.stop()
    assert codes == {grpc.StatusCode.OK: 6_000}
