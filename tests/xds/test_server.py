"""The server over real gRPC: groups, what wakes whom, addresses. The protocol's own rules are in `conformance`."""

from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from live import ADS, DELTA, ask, read, serving
from scripted_client import Client, cluster, endpoints, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, AddressInUseError, DiscoveryServer, Event, Node, Snapshot
from xds_server.xds.group import Group
from xds_server.xds.streaming import peer_address


async def test_groups_are_served_apart_and_nodes_can_move() -> None:
    members = {"n": "blue"}
    async with serving(group_of=lambda node: members[node.id]) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("b")]), "blue")
        server.set_snapshot(Snapshot.of([cluster("g")]), "green")
        call = await ask(channel, DELTA)
        assert names_of(await read(call, delta=True)) == ["b"]
        members["n"] = "green"
        server.regroup()
        moved = await read(call, delta=True)
        assert (names_of(moved), list(moved.removed_resources)) == (["g"], ["b"])


def test_a_stream_can_move_to_another_group(either: Client) -> None:
    either.publish(Snapshot.of(web("a", "b")))
    (answer,) = either.want(CLUSTER)
    either.accept(answer)
    other = Group("other")
    other.publish(Snapshot.of(web("b", "c")))
    either.stream.move(other)
    held = {"a", "b"}
    for response in either.sent(after=1):
        if either.delta:
            held = (held | set(names_of(response))) - set(response.removed_resources)
        else:
            held = set(names_of(response))
    assert held == {"b", "c"}


async def test_a_change_reaches_every_stream_that_wants_it_and_no_other() -> None:
    events: list[Event] = []
    async with serving(observe=events.append) as (server, channel):
        base = Snapshot.of([endpoints("a"), endpoints("b")])
        server.set_snapshot(base)
        calls: dict[str, Any] = {}
        for name in ("a", "b"):
            calls[name] = await ask(channel, DELTA, ENDPOINTS, name, node=name)
            await read(calls[name], delta=True)
        events.clear()
        server.set_snapshot(base.change([endpoints("a", 5)]))
        assert names_of(await read(calls["a"], delta=True)) == ["a"]
        assert [(event.kind, event.node and event.node.id) for event in events] == [("sent", "a")]


async def test_two_servers_never_share_a_port() -> None:
    server = DiscoveryServer()
    taken = await server.start()
    try:
        with pytest.raises(AddressInUseError, match=str(taken)):
            await DiscoveryServer().start(f"127.0.0.1:{taken}")
    finally:
        await server.stop(0)


async def test_another_reader_of_envoys_protos_understands_our_bytes() -> None:
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse

    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a", 7)]))
        call = await ask(channel, f"{ADS}DeltaAggregatedResources")
        response = DeltaDiscoveryResponse.parse(await call.read())
        (resource,) = response.resources
        assert (response.type_url, resource.name) == (CLUSTER, "a")
        assert resource.resource is not None
        assert Cluster.parse(resource.resource.value).name == "a"


def test_a_node_is_what_the_bootstrap_says() -> None:
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node={"id": "edge-1", "cluster": "edge"})
    request.node.locality.zone = "eu-1a"
    request.node.metadata["tier"] = "gold"
    seen = Node.of(request.node)
    assert (seen.id, seen.cluster, seen.zone, seen.metadata) == ("edge-1", "edge", "eu-1a", {"tier": "gold"})


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1:4711"),
        ("ipv6:%5B::1%5D:4711", "[::1]:4711"),
        ("unix:/run/a b", "unix:/run/a b"),
        ("", ""),
    ],
)
def test_the_address_of_a_client(peer: str, address: str) -> None:
    assert peer_address(peer) == address


async def test_an_event_says_where_a_client_comes_from_and_how_long_a_response_is() -> None:
    events: list[Event] = []
    async with serving(observe=events.append) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        answer = await read(await ask(channel, DELTA), delta=True)
        opened, _, sent = events
        assert opened.peer.startswith("127.0.0.1:")
        assert sent.size == len(answer.SerializeToString())
