"""Nodes that ask in different ways: each way is compiled once somebody asks so, held till then, and kept up to date."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from asking import ADS, ENVOYS, GRPC, NODES, PER_TYPE, REST, arrives, served
from definitions import change, complaints, names, upstream
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from structlog.testing import capture_logs

from xds_server.delivery import compiling
from xds_server.delivery.audience import EVERYONE, dialect_of
from xds_server.delivery.publisher import Publisher
from xds_server.resolvers import Answer, Question
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Dialect
from xds_server.xds import CLUSTER, ENDPOINTS, Node, Snapshot

PUBLIC = {"name": "public", "port": 80}


def source(snapshot: Snapshot | None, name: str) -> str:
    """The way that the endpoints of a served cluster come."""
    resource = snapshot and snapshot.get(CLUSTER, name)
    assert resource is not None
    return source_of(cluster_pb2.Cluster.FromString(resource.body))


def source_of(cluster: Any) -> str:
    config = cluster.eds_cluster_config.eds_config
    if config.HasField("ads"):
        return "ads"
    return str(config.api_config_source.ApiType.Name(config.api_config_source.api_type))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Counter[Dialect]:
    """How often an upstream was compiled, by dialect."""
    count: Counter[Dialect] = Counter()
    real = compiling.compile_upstream

    def counted(upstream: Upstream, addresses: Any, dialect: Dialect, **more: Any) -> Any:
        count[dialect] += 1
        return real(upstream, addresses, dialect, **more)

    monkeypatch.setattr(compiling, "compile_upstream", counted)
    return count


def test_how_a_node_asks() -> None:
    assert {dialect: dialect_of(node) for dialect, node in NODES.items()} == {dialect: dialect for dialect in NODES}
    # gRPC cannot use what an Envoy is sent, by whatever service it comes.
    assert dialect_of(Node("g", user_agent="gRPC Go 1.70", service="per-type")) is Dialect.GRPC_CLIENT


async def test_a_dialect_is_compiled_from_its_first_node_on(compiled: Counter[Dialect]) -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a"), upstream("b")))
    assert compiled == {Dialect.ADS: 2}
    await arrives(publisher, ADS, PER_TYPE, Node("second", service="per-type"))
    assert compiled == {Dialect.ADS: 2, Dialect.PER_TYPE: 2}
    await publisher.apply(change(upstream("a", "10.0.0.1")))
    assert compiled == {Dialect.ADS: 3, Dialect.PER_TYPE: 3}


async def test_its_nodes_are_held_until_all_of_it_is_compiled_and_nobody_else_is() -> None:
    publisher = Publisher()
    slices = 4
    await publisher.apply(change(*(upstream(f"u{n}") for n in range(slices * compiling.SLICE))))
    assert served(publisher, PER_TYPE) is None
    turns = 0
    while served(publisher, PER_TYPE) is None:
        assert served(publisher, ADS) is not None
        turns += 1
        await asyncio.sleep(0)
    assert turns >= slices, "other work had its turns"
    assert len(names(served(publisher, PER_TYPE), CLUSTER)) == slices * compiling.SLICE


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.value)
async def test_nobody_is_served_before_the_first_change(dialect: Dialect) -> None:
    publisher = Publisher()
    group = publisher._group_of(NODES[dialect])
    await asyncio.gather(*(start.task for start in publisher._starting.values()))
    assert publisher.server.snapshot(group) is None, "S16: an empty answer would delete everything"
    await publisher.apply(change(upstream("a")))
    assert names(publisher.server.snapshot(group), CLUSTER) == ["a"]


async def test_a_node_that_comes_at_any_moment_of_a_change_is_served_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "SLICE", 1)
    for moment in range(16):
        publisher = Publisher()
        await publisher.apply(change(upstream("a"), upstream("b")))
        await arrives(publisher, PER_TYPE)
        new = change(*(upstream(f"u{n}") for n in range(3)), remove=("a",))
        applying = asyncio.create_task(publisher.apply(new))
        for _ in range(moment):
            await asyncio.sleep(0)
        await asyncio.gather(applying, arrives(publisher, REST))
        for node in (ADS, PER_TYPE, REST):
            assert names(served(publisher, node), CLUSTER) == ["b", "u0", "u1", "u2"], moment


async def test_a_change_amid_the_compiling_of_a_dialect_is_not_lost() -> None:
    publisher = Publisher()
    await publisher.apply(change(*(upstream(f"u{n}") for n in range(4 * compiling.SLICE))))
    publisher._group_of(REST)
    await asyncio.sleep(0)  # the first slice
    with capture_logs() as logs:
        await publisher.apply(change(upstream("u0", "10.0.0.1"), upstream("new"), remove=("u1",)))
        assert served(publisher, REST) is None, "the change waited for nothing"
        assert served(publisher, ADS) is not None
        await arrives(publisher, REST)
    assert complaints(logs) == []
    snapshot = served(publisher, REST)
    assert snapshot is not None
    assert snapshot.get(CLUSTER, "new") is not None
    assert snapshot.get(CLUSTER, "u1") is None
    endpoints = snapshot.get(ENDPOINTS, "u0")
    assert endpoints is not None
    assert b"10.0.0.1" in endpoints.body


async def test_a_change_reaches_all_who_ask_each_in_their_own_way() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a"), gateways=(PUBLIC,)))
    await arrives(publisher, *NODES.values())
    await publisher.apply(change(upstream("b", "10.0.0.1", protocol="http2"), remove=("a",)))
    for node in NODES.values():
        snapshot = served(publisher, node)
        assert names(snapshot, CLUSTER) == names(snapshot, ENDPOINTS) == ["b"]
    sources = [source(served(publisher, node), "b") for node in (*ENVOYS, GRPC)]
    assert sources == ["ads", "GRPC", "DELTA_GRPC", "REST", "ads"]


async def test_a_target_changes_endpoints_alone_in_every_dialect() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1"), upstream("b"), gateways=(PUBLIC,)))
    await arrives(publisher, *NODES.values())
    before = {node.id: served(publisher, node) for node in NODES.values()}
    await publisher.apply(change(upstream("a", "10.0.0.1", "10.0.0.2")))
    for node in NODES.values():
        old, new = before[node.id], served(publisher, node)
        assert old is not None
        assert new is not None
        assert new.base == old.serial
        assert new.touched == {ENDPOINTS: frozenset({"a"})}


async def test_a_new_address_reaches_every_dialect() -> None:
    addresses = ["10.0.0.1", "10.0.0.2"]

    async def lookup(_: Question) -> Answer:
        return Answer((addresses[0],))

    publisher = Publisher(lookup)
    await publisher.apply(change(upstream("a", "db.example", dns={"min_ttl": "100ms", "linger": "0s"})))
    await arrives(publisher, *NODES.values())
    addresses.pop(0)
    running = asyncio.create_task(publisher.resolver.run())
    old = served(publisher, ADS)
    async with asyncio.timeout(10):
        while served(publisher, ADS) is old:
            await asyncio.sleep(0.01)
    running.cancel()
    for node in NODES.values():
        snapshot = served(publisher, node)
        resource = snapshot and snapshot.get(ENDPOINTS, "a")
        assert resource is not None
        assert b"10.0.0.2" in resource.body
        assert b"10.0.0.1" not in resource.body


async def test_unknown_names_empty_no_client_of_any_dialect() -> None:
    async def nowhere(_: Question) -> Answer:
        raise OSError(-2, "unknown")

    publisher = Publisher(nowhere)
    await publisher.apply(change(upstream("a", "nowhere.example"), upstream("none")))
    await arrives(publisher, *NODES.values())
    for node in NODES.values():
        assert names(served(publisher, node), ENDPOINTS) == ["none"]


async def test_selectors_count_in_every_dialect() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("shared"), upstream("scoped", nodes={"clusters": ["edge"]})))
    inside = Node("1", cluster="edge", service="per-type")
    await arrives(publisher, inside, PER_TYPE)
    assert names(served(publisher, inside), CLUSTER) == ["scoped", "shared"]
    assert names(served(publisher, PER_TYPE), CLUSTER) == ["shared"]
    await publisher.apply(change(upstream("scoped", "10.0.0.1", nodes={"clusters": ["edge"]})))
    snapshot = served(publisher, inside)
    assert snapshot is not None
    assert snapshot.touched == {ENDPOINTS: frozenset({"scoped"})}


async def test_a_group_that_was_forgotten_comes_back_up_to_date_and_at_once() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a")))
    await arrives(publisher, REST)  # a poller has no stream by which it would be remembered
    group = publisher._group_of(REST)
    await publisher.apply(change(upstream("b", nodes={"ids": ["other"]})))
    await publisher.apply(change(upstream("c")))
    assert publisher.server.groups == (EVERYONE.name,)
    assert publisher._group_of(REST) == group
    assert names(publisher.server.snapshot(group), CLUSTER) == ["a", "c"]
    await publisher.apply(change(upstream("d")))
    assert names(publisher.server.snapshot(group), CLUSTER) == ["a", "c", "d"]


ADS_SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
CDS_SERVICE = "/envoy.service.cluster.v3.ClusterDiscoveryService/"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (ADS_SERVICE + "StreamAggregatedResources", "ads"),
        (ADS_SERVICE + "DeltaAggregatedResources", "ads"),
        (CDS_SERVICE + "StreamClusters", "GRPC"),
        (CDS_SERVICE + "DeltaClusters", "DELTA_GRPC"),
    ],
    ids=lambda value: value.rpartition("/")[2],
)
async def test_connected_clients_are_served_by_how_they_ask(method: str, expected: str) -> None:
    publisher = Publisher()
    port = await publisher.server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(10):
            call = channel.stream_stream(method)()
            request, read = _conversation(method)
            await call.write(request)
            await publisher.apply(change(upstream("a", nodes={"clusters": ["core"]})))
            (first,) = read(await call.read())
            assert (first.name, source_of(first)) == ("a", expected)
            # The client moves to another group, of the same dialect.
            await publisher.apply(change(upstream("b"), upstream("a", nodes={"clusters": ["edge"]})))
            (second,) = read(await call.read())
            assert (second.name, source_of(second)) == ("b", expected)
    finally:
        await publisher.server.stop(0)


def _conversation(method: str) -> tuple[bytes, Callable[[bytes], list[Any]]]:
    """A first request for all clusters, and how to read the clusters of an answer."""
    about: dict[str, Any] = {"type_url": CLUSTER, "node": {"id": "n", "cluster": "core"}}
    if "Delta" in method:
        return (
            discovery_pb2.DeltaDiscoveryRequest(**about).SerializeToString(),
            lambda raw: [_cluster(r.resource) for r in discovery_pb2.DeltaDiscoveryResponse.FromString(raw).resources],
        )
    return (
        discovery_pb2.DiscoveryRequest(**about).SerializeToString(),
        lambda raw: [_cluster(packed) for packed in discovery_pb2.DiscoveryResponse.FromString(raw).resources],
    )


def _cluster(packed: Any) -> Any:
    return cluster_pb2.Cluster.FromString(packed.value)
