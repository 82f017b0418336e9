"""Changes that are revisions: to which nodes they matter, in every group and dialect, and a store that is new."""

import time
from collections.abc import AsyncIterator

import pytest
from definitions import change, names, upstream
from joined import Joined
from scripted_client import names_of
from served_upstreams import AT_ONCE

from xds_server.bootstrap import Bootstrap
from xds_server.catalog.changes import Change
from xds_server.delivery.audience import matches
from xds_server.delivery.publisher import Publisher
from xds_server.fleet import Commit, NodeStatus
from xds_server.testing import Backend, EnvoyProcess
from xds_server.testing.loop import run
from xds_server.upstreams.model import NodeSelector
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Node
from xds_server.xds.delta import DeltaStream
from xds_server.xds.sotw import SotwStream

GATEWAY = ({"name": "public", "port": 80},)


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    made = Publisher()
    yield made
    for start in tuple(made._starting.values()):
        await start.task


def join(publisher: Publisher, node: str, cluster: str = "", *, delta: bool = True) -> Joined:
    """An Envoy on an aggregated stream, which has said who it is, and nothing of what it wants."""
    client = Joined(publisher.server, DeltaStream if delta else SotwStream, None, "")
    client.node, client.agent, client.cluster = node, "envoy 1.40.0", cluster
    return client


def take_all(client: Joined) -> None:
    """Ask for what an Envoy asks for, and accept all of it."""
    for type_url in (CLUSTER, LISTENER):
        client.accept(*client.want(type_url))
    client.accept(*client.want(ENDPOINTS, *sorted(client.group.snapshot.names(ENDPOINTS))))


async def test_a_revision_matters_to_those_who_receive_it(publisher: Publisher) -> None:
    edge = {"clusters": ["edge"]}
    await publisher.apply(change(upstream("shared"), upstream("scoped", "10.0.0.1", nodes=edge)), Commit(1, None))
    assert publisher.fleet.progress(1).affected == 0, "nobody is here yet"
    inside, outside = join(publisher, "in", "edge"), join(publisher, "out", "core")
    for client in (inside, outside):
        take_all(client)
    await publisher.apply(change(upstream("scoped", "10.0.0.2", nodes=edge)), Commit(2, time.time()))
    assert publisher.fleet.progress(2).pending == {"in": ("ClusterLoadAssignment",)}
    inside.accept(*inside.sent())
    progress = await publisher.fleet.wait(2)
    assert progress.reached(100)
    assert progress.seconds is not None
    await publisher.apply(change(upstream("shared", "10.0.0.3")), Commit(3, time.time()))
    assert list(publisher.fleet.progress(3).pending) == ["in", "out"]


async def test_a_change_of_audience_matters_to_those_who_gain_and_who_lose(publisher: Publisher) -> None:
    await publisher.apply(change(upstream("moving", nodes={"clusters": ["edge"]}), upstream("staying")))
    clients = {name: join(publisher, name, name) for name in ("edge", "core", "other")}
    for client in clients.values():
        take_all(client)
    wanted = NodeSelector(clusters=["core"])
    preview = publisher.fleet.affected_where(lambda node: matches(wanted, node) or node.cluster == "edge")
    await publisher.apply(change(upstream("moving", nodes={"clusters": ["core"]})), Commit(1, None))
    assert preview == ("core", "edge")
    for client in clients.values():
        for _ in range(4):
            client.accept(*client.sent(after=2))
    progress = publisher.fleet.progress(1)
    assert (progress.affected, progress.acknowledged) == (2, 2), "to the third it turned out to change nothing"


async def test_what_is_refused_matters_to_nobody(publisher: Publisher) -> None:
    await publisher.apply(change(upstream("a")))
    client = join(publisher, "n")
    take_all(client)
    await publisher.apply(change(upstream("a", envoy={"connect_timeout": "0s"})), Commit(1, None))
    assert publisher.fleet.progress(1).affected == 0


async def test_what_is_no_revision_is_not_followed(publisher: Publisher) -> None:
    await publisher.apply(change(upstream("a")))
    client = join(publisher, "n")
    take_all(client)
    await publisher.apply(change(upstream("a", "10.0.0.1")))
    assert client.stream._awaiting._changes == {}
    assert not publisher.fleet.progress(1).published


async def test_the_whole_of_a_revision_is_waited_for(publisher: Publisher) -> None:
    await publisher.apply(change(upstream("a"), gateways=GATEWAY))
    client = join(publisher, "n", delta=False)
    take_all(client)
    await publisher.apply(change(upstream("b"), upstream("a", "10.0.0.1"), gateways=GATEWAY), Commit(1, None))
    (clusters, assigned) = client.sent()
    client.accept(assigned)
    progress = publisher.fleet.progress(1)
    assert progress.pending == {"n": ("Cluster",)}
    client.accept(clusters)
    assert publisher.fleet.progress(1).warm == 1


# A store that is new


async def test_S16_a_new_store_empties_nobody_and_answers_who_is_new(publisher: Publisher) -> None:
    early = join(publisher, "early")
    assert early.want(CLUSTER) == [], "held: nothing is known of the store yet"
    publisher.serve_unwritten()
    (answer,) = early.sent()
    assert names_of(answer) == []
    back, other = join(publisher, "back"), join(publisher, "back", "edge", delta=False)
    assert back.ask(CLUSTER, held={"a": "1"}) == other.ask(CLUSTER, version="1") == []
    await publisher.apply(change(upstream("a")), Commit(1, None))
    assert list(publisher.fleet.progress(1).pending) == ["back", "early"]
    for client in (early, back, other):
        client.accept(*client.sent())
    assert publisher.fleet.progress(1).acknowledged == 2


async def test_S16_a_first_revision_may_be_empty(publisher: Publisher) -> None:
    publisher.serve_unwritten()
    back = join(publisher, "back", delta=False)
    assert back.ask(CLUSTER, version="1") == []
    await publisher.apply(Change())
    (answer,) = back.sent()
    assert names_of(answer) == []
    publisher.serve_unwritten()
    assert back.accept(answer) == back.sent() == [], "what was written stays so"


async def test_S16_a_new_store_in_another_dialect() -> None:
    publisher = Publisher()
    publisher.serve_unwritten()
    group = publisher._group_of(Node("1", service="per-type"))
    assert publisher.server.snapshot(group) is None, "it is being compiled"
    for start in tuple(publisher._starting.values()):
        await start.task
    snapshot = publisher.server.snapshot(group)
    assert snapshot is not None
    assert snapshot.is_unwritten
    await publisher.apply(change(upstream("a")))
    snapshot = publisher.server.snapshot(group)
    assert snapshot is not None
    assert (names(snapshot, CLUSTER), snapshot.is_unwritten) == (["a"], False)


@pytest.mark.envoy
@pytest.mark.parametrize("static", [False, True], ids=["listeners-of-ours", "static-listener"])
def test_a_revision_of_definitions_reaches_a_real_envoy(static: bool) -> None:
    publisher = Publisher()
    address = f"127.0.0.1:{run(publisher.server.start())}"
    try:
        bootstrap = Bootstrap(node_id="edge", xds_address=address, static_listener=0 if static else None)
        with EnvoyProcess(bootstrap) as envoy, Backend("a") as a, Backend("b") as b:
            first = change(upstream("app", nodes={"clusters": ["xds-server"]}), upstream("app-2"))
            run(publisher.apply(first, Commit(1, time.time())))
            envoy.wait_for_ready()
            envoy.wait_until(lambda: all(state.status == "SYNCED" for state in of(publisher, "edge").types), 10)
            for number, backends in enumerate([(a,), (a, b), (b,)], start=2):
                targets = [{"host": backend.host, "port": backend.port} for backend in backends]
                timeout = f"{number}s"
                changed = {"name": "app-2", "targets": targets, "connect_timeout": timeout, "envoy": AT_ONCE}
                run(publisher.apply(change(changed), Commit(number, time.time())))
                progress = run(publisher.fleet.wait(number, within=10))
                assert (progress.acknowledged, progress.warm) == (1, 0 if static else 1), progress
                assert set(envoy.endpoints("app-2")) == {backend.address for backend in backends}
    finally:
        run(publisher.server.stop(0))


def of(publisher: Publisher, node: str) -> NodeStatus:
    found = publisher.fleet.node(node)
    assert found is not None
    return found
