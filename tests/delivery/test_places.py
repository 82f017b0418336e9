"""Nearest first: nodes are told apart by where they are, only where that matters, and only by endpoints."""

from typing import Any

import pytest
from definitions import change, names
from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.delivery.audience import selector_key
from xds_server.delivery.publisher import Publisher
from xds_server.upstreams.model import NodeSelector
from xds_server.xds import CLUSTER, ENDPOINTS, Node, Snapshot

A, B, NOWHERE = Node("a", region="eu", zone="a"), Node("b", region="eu", zone="b"), Node("nowhere")
NEAREST = {"localities": {"balance": "nearest"}}


def shop(*zones: str, name: str = "shop", **fields: Any) -> dict[str, Any]:
    targets = [
        {"host": f"10.0.0.{number}", "port": 80, "locality": {"region": "eu", "zone": zone}}
        for number, zone in enumerate(zones, 1)
    ]
    return {"name": name, "targets": targets, **fields}


def served(publisher: Publisher, node: Node) -> Snapshot:
    snapshot = publisher.server.snapshot(publisher._group_of(node))
    assert snapshot is not None
    return snapshot


def first(snapshot: Snapshot, name: str = "shop") -> list[str]:
    """Zones of priority 0."""
    resource = snapshot.get(ENDPOINTS, name)
    assert resource is not None
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
    return [group.locality.zone for group in assignment.endpoints if group.priority == 0]


async def test_without_nearest_first_nodes_of_all_places_share_one_group() -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b")))
    assert len({publisher._group_of(node) for node in (A, B, NOWHERE)}) == 1


async def test_each_place_has_its_own_endpoints_and_the_same_clusters() -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b", "c", **NEAREST)))
    at_a, at_b, nowhere = (served(publisher, node) for node in (A, B, NOWHERE))
    assert (first(at_a), first(at_b), first(nowhere)) == (["a"], ["b"], ["a", "b", "c"])
    assert at_a.get(CLUSTER, "shop") is at_b.get(CLUSTER, "shop") is nowhere.get(CLUSTER, "shop")
    assert served(publisher, Node("other", region="eu", zone="a")) is at_a, "equal places share a snapshot"
    assert served(publisher, Node("elsewhere", region="us", zone="a")) is not at_a, "zones are names within a region"


async def test_only_nodes_that_receive_such_definitions_are_told_apart() -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b", nodes={"clusters": ["edge"]}, **NEAREST), shop("a", name="all")))
    assert publisher._group_of(A) == publisher._group_of(B)
    at_a, at_b = (Node("1", "edge", "eu", zone) for zone in "ab")
    assert (first(served(publisher, at_a)), first(served(publisher, at_b))) == (["a"], ["b"])
    assert names(served(publisher, A), CLUSTER) == ["all"]


async def test_a_change_costs_what_it_touches_in_each_place() -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b", **NEAREST), shop("a", name="other", **NEAREST)))
    before = [served(publisher, node) for node in (A, B)]
    await publisher.apply(change(shop("b", "a", **NEAREST)))
    after = [served(publisher, node) for node in (A, B)]
    assert [snapshot.base for snapshot in after] == [snapshot.serial for snapshot in before]
    assert [snapshot.touched for snapshot in after] == [{ENDPOINTS: frozenset({"shop"})}] * 2


async def test_endpoints_are_sent_again_when_their_cluster_changes() -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b", **NEAREST)))
    before = served(publisher, A).get(ENDPOINTS, "shop")
    await publisher.apply(change(shop("a", "b", connect_timeout="9s", **NEAREST)))
    after = served(publisher, A).get(ENDPOINTS, "shop")
    assert before is not None
    assert after is not None
    assert before.body == after.body
    assert before.version != after.version


async def test_groups_split_and_merge_as_definitions_come_and_go() -> None:
    publisher = Publisher()
    regrouped = 0

    def count() -> None:
        nonlocal regrouped
        regrouped += 1

    publisher.server.regroup = count  # type: ignore[method-assign]
    await publisher.apply(change(shop("a", "b")))
    assert regrouped == 0
    await publisher.apply(change(shop("a", "b", **NEAREST)))
    assert regrouped == 1
    await publisher.apply(change(shop("a", "b", name="second", **NEAREST), shop("b", "a", **NEAREST)))
    await publisher.apply(change(remove=("second",)))
    assert regrouped == 1, "places matter before and after"
    assert first(served(publisher, A)) == ["a"]
    await publisher.apply(change(shop("a", "b")))
    assert regrouped == 2
    assert publisher._group_of(A) == publisher._group_of(B)


async def test_a_place_cannot_pretend_to_be_a_selector() -> None:
    publisher = Publisher()
    edge = {"clusters": ["edge"]}
    await publisher.apply(change(shop("a", **NEAREST), shop("a", name="secret", nodes=edge)))
    served(publisher, Node("1", "edge", "eu"))
    selector = selector_key(NodeSelector.model_validate(edge))
    for zone in (f"\n{selector}", f'"]\n{selector}'):
        assert names(served(publisher, Node("2", region="eu", zone=zone)), CLUSTER) == ["shop"]


@pytest.mark.parametrize("algorithm", ["weighted-round-robin", "ring-hash"])
async def test_grpc_clients_have_places_too(algorithm: str) -> None:
    publisher = Publisher()
    await publisher.apply(change(shop("a", "b", algorithm=algorithm, **NEAREST)))
    clients = [Node("g", region="eu", zone=zone, user_agent="gRPC C-core 1.85") for zone in "ab"]
    for client in clients:
        publisher._group_of(client)
    for start in [*publisher._starting.values()]:
        await start.task
    assert [first(served(publisher, client)) for client in clients] == [["a"], ["b"]]
    assert any("nearest" in str(w) or "last target" in str(w) for w in publisher.warnings(clients[0])["shop"])
