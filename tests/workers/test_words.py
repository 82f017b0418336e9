"""Frames, and what is said between manager and worker, come through as they are."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from xds_server.delivery.audience import Audiences, NodeGroup
from xds_server.upstreams.model import Target, Upstream
from xds_server.upstreams.translate import NOWHERE, Dialect, Place
from xds_server.workers import frames, frames_pb2, messages
from xds_server.workers.backoff import Backoff
from xds_server.workers.frames import Frame, TooLongError
from xds_server.workers.grouping import Grouping
from xds_server.workers.options import Options
from xds_server.workers.port import Reservation
from xds_server.xds import CLUSTER, AddressInUseError, DiscoveryServer, Event, Node


async def test_messages_follow_each_other_on_a_stream_of_bytes() -> None:
    said = [frames_pb2.Drop(groups=["a", "b"]), frames_pb2.Listening(port=7), frames_pb2.Drop()]
    reader = asyncio.StreamReader()
    raw = b"".join(map(frames.encode, said))
    for number in range(len(raw)):
        reader.feed_data(raw[number : number + 1])
    assert [await frames.read(reader) for _ in said] == said
    reader.feed_data(frames.encode(said[0])[:-1])
    reader.feed_eof()
    with pytest.raises(EOFError):
        await frames.read(reader)


def test_a_message_that_nobody_could_read_is_not_sent() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 2**31

    with pytest.raises(TooLongError, match="2147483648 bytes are too many"):
        Frame(frames_pb2.Update, Long()).encode()


def test_an_event_comes_through_as_the_log_tells_it() -> None:
    event = Event(
        "rejected",
        3,
        Node("n", user_agent="envoy 1.40.0"),
        type_url=CLUSTER,
        version="v",
        nonce="7",
        names=("a", "b"),
        detail="no",
        culprits=("a",),
        applied=True,
    )
    assert messages.event(messages.event_message(event)) == event
    nobody = Event("closed", 4, None, detail="the connection ended")
    assert messages.event(messages.event_message(nobody)) == nobody


@pytest.mark.parametrize(
    "group",
    [
        NodeGroup(Dialect.ADS),
        NodeGroup(Dialect.PER_TYPE_DELTA, frozenset({'{"ids":["a"]}', '{"clusters":["b"]}'}), Place("r", "z")),
        NodeGroup(Dialect.GRPC_CLIENT, frozenset({'{"ids":["a"]}'}), NOWHERE),
    ],
)
def test_a_group_is_asked_for_by_what_makes_it(group: NodeGroup) -> None:
    assert messages.wanted(messages.want(group)) == group


def test_figures_come_through() -> None:
    sums = {("a_total", (("le", "+Inf"), ("type", "Cluster"))): 3.0, ("b_total", ()): 0.5}
    assert messages.figures(messages.figures_message(sums)) == sums


def test_options_come_through() -> None:
    options = Options(
        2, "[::1]:80", "here", 500.0, 1800.0, 5.0, "c", "k", "", ("{id}", "x/{id}"), True, "h:1", "json", "info"
    )
    assert Options.decode(options.encode()) == options
    assert options.tls_client_ca is None
    assert options.limits.new_streams_per_second == 500


SELECTORS = (
    {},
    {"ids": ["a", "b"]},
    {"clusters": ["edge"], "labels": {"tier": "1"}},
    {"localities": [{"region": "r"}, {"region": "s", "zone": "z", "sub_zone": "y"}]},
    {"ids": ["ä \"'"]},
)
NODES = [
    Node(node_id, cluster, *place, "envoy 1.40.0", {"tier": tier}, service, variant)  # type: ignore[arg-type]
    for node_id, cluster, place, tier, service, variant in itertools.product(
        ("a", "c"),
        ("edge", ""),
        (("", "", ""), ("r", "z", ""), ("s", "z", "y")),
        ("1", "2"),
        ("aggregated", "per-type"),
        ("sotw", "delta"),
    )
]


@pytest.mark.parametrize("nearest", [False, True])
def test_a_worker_groups_nodes_as_the_manager_does(nearest: bool) -> None:
    audiences, grouping = Audiences(), Grouping()
    for number, selector in enumerate(SELECTORS):
        localities = {"localities": {"balance": "nearest"}} if nearest and number == 3 else {}
        upstream = Upstream.model_validate(
            {"name": f"u{number}", "targets": [Target(host="h", port=1)], "nodes": selector, **localities}
        )
        audiences.add(upstream)
        grouping.select(audiences.in_use)
        for node in NODES:
            assert grouping.group_of(node) == audiences.group_of(node).name
    news = {group.name for group in grouping.take_news()}
    assert {audiences.group_of(node).name for node in NODES} - {"ads"} <= news
    assert grouping.take_news() == []


def test_a_group_without_nodes_is_forgotten() -> None:
    grouping = Grouping()
    grouping.select({'{"ids":["a"]}': False})
    name = grouping.group_of(Node("a"))
    assert grouping.has(name)
    assert grouping.keep((name,)) == []
    assert grouping.keep(()) == [name]
    assert not grouping.has(name)
    assert grouping.group_of(Node("b")) == "ads"
    assert grouping.keep(()) == [], "that of everyone stays"


def test_what_dies_at_once_is_tried_less_and_less_often() -> None:
    backoff = Backoff()
    assert [backoff.pause(0.1) for _ in range(10)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert [backoff.pause(60), backoff.pause(0.1)] == [0.1, 0.2]


async def test_a_port_is_held_for_workers_alone() -> None:
    reserved = await Reservation.of("127.0.0.1:0")
    address = f"127.0.0.1:{reserved.port}"
    assert reserved.address == address
    with pytest.raises(AddressInUseError, match=f"cannot listen on {address}"):
        await Reservation.of(address)
    with pytest.raises(AddressInUseError):
        await Reservation.of(f"0.0.0.0:{reserved.port}")
    alone = DiscoveryServer()
    with pytest.raises(AddressInUseError):
        await alone.start(address)
    workers = [DiscoveryServer(), DiscoveryServer()]
    for worker in workers:
        assert await worker.start(address, shares_port=True) == reserved.port
    with pytest.raises(AddressInUseError):
        await Reservation.of(address)
    for worker in workers:
        await worker.stop(0)
    reserved.close()
    (await Reservation.of(address)).close()


@pytest.mark.parametrize(("address", "problem"), [("nowhere.invalid:1", "has no address"), ("127.0.0.1", "host:port")])
async def test_a_host_that_is_none_is_told(address: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        await Reservation.of(address)
