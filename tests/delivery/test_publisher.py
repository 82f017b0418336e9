"""From changes to snapshots: who receives what, what keeps its last good state, and what a change costs."""

import asyncio
from typing import Any

import grpc
import pytest
from definitions import change, complaints, names, upstream
from envoy.service.discovery.v3 import discovery_pb2
from structlog.testing import capture_logs

from xds_server.catalog.changes import Change
from xds_server.delivery import compiling
from xds_server.delivery.audience import EVERYONE
from xds_server.delivery.publisher import Publisher
from xds_server.resolvers import Answer, Question
from xds_server.upstreams.model import Upstream
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Node


async def nowhere(_: Question) -> Answer:
    raise OSError(-2, "Name or service not known")


async def test_nothing_is_served_before_the_first_change() -> None:
    publisher = Publisher()
    assert publisher.server.snapshot(EVERYONE.name) is None
    publisher._group_of(Node("early"))
    assert publisher.server.snapshot(EVERYONE.name) is None, "S16: an empty answer would delete everything"
    await publisher.apply(change())
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == []


async def test_upstreams_come_change_and_go() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1"), upstream("b"), gateways=({"name": "public", "port": 80},)))
    snapshot = publisher.server.snapshot(EVERYONE.name)
    assert names(snapshot, CLUSTER) == names(snapshot, ENDPOINTS) == ["a", "b"]
    assert (names(snapshot, LISTENER), names(snapshot, ROUTES)) == (["public"], ["xds-server"])
    await publisher.apply(change(remove=("b",)))
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a"]


async def test_a_target_changes_endpoints_alone() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1"), upstream("b"), gateways=({"name": "public", "port": 80},)))
    before = publisher.server.snapshot(EVERYONE.name)
    await publisher.apply(change(upstream("a", "10.0.0.1", "10.0.0.2")))
    after = publisher.server.snapshot(EVERYONE.name)
    assert before is not None
    assert after is not None
    assert after.base == before.serial
    assert after.touched == {ENDPOINTS: frozenset({"a"})}


async def test_without_a_gateway_that_routes_there_are_no_routes() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a")))
    assert names(publisher.server.snapshot(EVERYONE.name), ROUTES) == []
    await publisher.apply(change(gateways=({"name": "public", "port": 80},)))
    assert names(publisher.server.snapshot(EVERYONE.name), ROUTES) == ["xds-server"]
    removal = Change(removed_gateways=frozenset({"public"}))
    await publisher.apply(removal)
    assert names(publisher.server.snapshot(EVERYONE.name), ROUTES) == []
    assert names(publisher.server.snapshot(EVERYONE.name), LISTENER) == []


async def test_nodes_receive_what_selects_them() -> None:
    publisher = Publisher()
    edge = {"clusters": ["edge"]}
    gateway = {"name": "database", "port": 5432, "upstream": "scoped"}
    await publisher.apply(change(upstream("shared"), upstream("scoped", nodes=edge), gateways=(gateway,)))
    inside = publisher.server.snapshot(publisher._group_of(Node("1", cluster="edge")))
    outside = publisher.server.snapshot(publisher._group_of(Node("2", cluster="core")))
    assert (names(inside, CLUSTER), names(inside, LISTENER)) == (["scoped", "shared"], ["database"])
    assert (names(outside, CLUSTER), names(outside, LISTENER)) == (["shared"], [])


async def test_a_change_of_audience_moves_resources_between_groups() -> None:
    publisher = Publisher()
    node = Node("1", zone="eu-1a", metadata={"tier": "gold"})
    await publisher.apply(change(upstream("a", nodes={"labels": {"tier": "gold"}})))
    assert names(publisher.server.snapshot(publisher._group_of(node)), CLUSTER) == ["a"]
    await publisher.apply(change(upstream("a", nodes={"localities": [{"zone": "eu-1b"}]})))
    assert names(publisher.server.snapshot(publisher._group_of(node)), CLUSTER) == []
    await publisher.apply(change(upstream("a")))
    assert names(publisher.server.snapshot(publisher._group_of(node)), CLUSTER) == ["a"]


async def test_a_change_that_does_not_concern_a_group_leaves_its_snapshot_alone() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a"), upstream("b", nodes={"ids": ["1"]})))
    everyone, one = publisher._group_of(Node("2")), publisher._group_of(Node("1"))
    before = publisher.server.snapshot(everyone)
    await publisher.apply(change(upstream("b", "10.0.0.1", nodes={"ids": ["1"]})))
    assert publisher.server.snapshot(everyone) is before
    snapshot = publisher.server.snapshot(one)
    assert snapshot is not None
    assert snapshot.touched == {ENDPOINTS: frozenset({"b"})}


async def test_P22_what_envoy_would_refuse_keeps_its_last_good_state_and_is_reported() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1")))
    with capture_logs() as logs:
        bad = {"connect_timeout": "0s"}
        await publisher.apply(change(upstream("a", "10.0.0.2", envoy=bad), upstream("new", envoy=bad), upstream("ok")))
    snapshot = publisher.server.snapshot(EVERYONE.name)
    assert names(snapshot, CLUSTER) == ["a", "ok"]
    refused = {log["name"]: log for log in logs if log["event"] == "definition.refused"}
    assert {name: log["last_good_serves"] for name, log in refused.items()} == {"a": True, "new": False}
    assert refused["a"]["meanwhile"] == "the last good one serves"
    assert refused["new"]["meanwhile"] == "no Envoy has it: requests for it fail"
    assert refused["a"]["at"] == "file.yaml:1"
    assert "connect_timeout" in refused["a"]["problem"]
    await publisher.apply(change(upstream("a", "10.0.0.3")))
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a", "ok"]


async def test_what_claims_a_host_name_of_a_last_good_definition_waits_until_that_is_mended() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", hostnames=["shop.example"]), upstream("b", hostnames=["old.example"])))
    bad = {"connect_timeout": "0s"}
    with (
        capture_logs() as logs
    ):  # a gives shop.example to b, and b gives old.example to c: but a cannot be served as it is now
        await publisher.apply(
            change(
                upstream("a", envoy=bad),
                upstream("b", hostnames=["shop.example"]),
                upstream("c", hostnames=["old.example"]),
                upstream("d", hostnames=["new.example"]),
            )
        )
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a", "b", "d"]
    refused = {log["name"]: log["problem"] for log in logs if log["event"] == "definition.refused"}
    assert "'shop.example' is still answered by the last good definition of upstream 'a'" in refused["b"]
    assert "'old.example' is still answered by the last good definition of upstream 'b'" in refused["c"]
    await publisher.apply(change(upstream("a")))
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a", "b", "c", "d"]


async def test_a_mistake_of_ours_with_one_definition_does_not_touch_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compiling.compile_upstream

    def breaks(upstream: Upstream, *args: Any, **more: Any) -> Any:
        if upstream.name == "odd":
            raise RuntimeError("never thought of")
        return real(upstream, *args, **more)

    monkeypatch.setattr(compiling, "compile_upstream", breaks)
    publisher = Publisher()
    with capture_logs() as logs:
        await publisher.apply(change(upstream("odd"), upstream("sound")))
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["sound"]
    (refused,) = [log for log in logs if log["event"] == "definition.refused"]
    assert "please report" in refused["problem"]


@pytest.mark.parametrize("resolve", ["control-plane", "envoy"])
async def test_host_names_are_resolved_by_whom_the_definition_says(resolve: str) -> None:
    async def lookup(_: Question) -> Answer:
        return Answer(("10.9.9.1", "10.9.9.2"))

    publisher = Publisher(lookup)
    await publisher.apply(change(upstream("a", "db.example", resolve=resolve)))
    snapshot = publisher.server.snapshot(EVERYONE.name)
    assert snapshot is not None
    if resolve == "control-plane":
        resource = snapshot.get(ENDPOINTS, "a")
        assert resource is not None
        assert b"10.9.9.1" in resource.body
        assert b"10.9.9.2" in resource.body
    else:
        assert names(snapshot, ENDPOINTS) == []


async def test_a_new_address_reaches_the_endpoints_and_a_failure_does_not() -> None:
    answers: list[tuple[str, ...] | OSError] = [("10.0.0.1",), ("10.0.0.2",), OSError(-2, "unknown"), ()]

    async def lookup(_: Question) -> Answer:
        answer = answers.pop(0) if answers else ("10.0.0.3",)
        if isinstance(answer, OSError):
            raise answer
        return Answer(answer)

    publisher = Publisher(lookup)
    await publisher.apply(change(upstream("a", "db.example", dns={"min_ttl": "100ms", "linger": "0s"})))
    seen: list[bytes] = []
    with capture_logs() as logs:
        running = asyncio.create_task(publisher.resolver.run())
        async with asyncio.timeout(10):
            while not seen or b"10.0.0.3" not in seen[-1]:
                snapshot = publisher.server.snapshot(EVERYONE.name)
                resource = snapshot and snapshot.get(ENDPOINTS, "a")
                assert resource is not None
                if not seen or seen[-1] != resource.body:
                    seen.append(resource.body)
                await asyncio.sleep(0)
        running.cancel()
    assert [body.count(b"10.0.0.") for body in seen] == [1, 1, 1], "never without an address"
    assert [log["event"] for log in logs] == ["dns.failed", "dns.recovered"], "said once"


async def test_a_name_that_never_resolves_holds_nothing_up_and_empties_no_envoy() -> None:
    publisher = Publisher(nowhere)
    await publisher.apply(
        change(upstream("a", "nowhere.example"), upstream("mixed", "nowhere.example", "10.0.0.1"), upstream("none"))
    )
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a", "mixed", "none"]
    # `a` has endpoints, only unknown ones: an Envoy that holds some keeps them. B22: `none` has an empty assignment.
    assert names(publisher.server.snapshot(EVERYONE.name), ENDPOINTS) == ["mixed", "none"]


async def test_a_refused_definition_leaves_its_last_good_one_in_force_in_every_respect() -> None:
    answers = iter(f"10.0.0.{n}" for n in range(1, 9))

    async def lookup(_: Question) -> Answer:
        return Answer((next(answers),))

    publisher = Publisher(lookup)
    edge, core = Node("1", cluster="edge"), Node("2", cluster="core")
    gateway = {"name": "database", "port": 5432, "upstream": "a"}
    await publisher.apply(change(upstream("a", "db.example", nodes={"clusters": ["edge"]}), gateways=(gateway,)))
    with capture_logs() as logs:
        bad = {"connect_timeout": "0s"}
        await publisher.apply(change(upstream("a", "other.example", nodes={"clusters": ["core"]}, envoy=bad)))
        await publisher._resolved(frozenset({Question("db.example")}))
        await publisher.apply(change(upstream("b")))
    assert [log["event"] for log in complaints(logs)] == ["definition.refused"], "said once, not at every change"
    inside = publisher.server.snapshot(publisher._group_of(edge))
    outside = publisher.server.snapshot(publisher._group_of(core))
    assert (names(inside, CLUSTER), names(inside, LISTENER)) == (["a", "b"], ["database"])
    assert (names(outside, CLUSTER), names(outside, LISTENER)) == (["b"], [])
    assert {question.name for question in publisher.resolver.addresses} == {"db.example", "other.example"}, (
        "it is tried again with the next change"
    )


async def test_a_gateway_follows_its_upstream_to_other_nodes() -> None:
    publisher = Publisher()
    edge, core = Node("1", cluster="edge"), Node("2", cluster="core")
    gateway = {"name": "database", "port": 5432, "upstream": "a"}
    await publisher.apply(change(upstream("a", nodes={"clusters": ["edge"]}), gateways=(gateway,)))
    assert names(publisher.server.snapshot(publisher._group_of(edge)), LISTENER) == ["database"]
    await publisher.apply(change(upstream("a", nodes={"clusters": ["core"]})))
    assert names(publisher.server.snapshot(publisher._group_of(edge)), LISTENER) == []
    assert names(publisher.server.snapshot(publisher._group_of(core)), LISTENER) == ["database"]


async def test_a_host_name_that_a_last_good_definition_still_answers_is_not_given_to_another() -> None:
    publisher = Publisher()
    public = ({"name": "public", "port": 80},)
    await publisher.apply(change(upstream("a", hostnames=["h.example"]), gateways=public))
    with capture_logs() as logs:
        # In one change: `a` gives the name up, but cannot be served, and `b` takes it.
        broken = upstream("a", envoy={"connect_timeout": "0s"})
        await publisher.apply(change(broken, upstream("b", hostnames=["h.example"]), upstream("c")))
    assert {log["name"] for log in complaints(logs)} == {"a", "b"}
    snapshot = publisher.server.snapshot(EVERYONE.name)
    assert names(snapshot, CLUSTER) == ["a", "c"]
    routes = snapshot and snapshot.get(ROUTES, "xds-server")
    assert routes is not None
    assert routes.body.count(b"h.example") == 1, "a domain twice would have Envoy refuse every route"
    await publisher.apply(change(upstream("a")))
    assert names(publisher.server.snapshot(EVERYONE.name), CLUSTER) == ["a", "b", "c"], "what stood in its way is gone"


async def test_a_gateway_without_its_upstream_is_served_to_nobody() -> None:
    publisher = Publisher()
    bad = upstream("a", nodes={"clusters": ["edge"]}, envoy={"connect_timeout": "0s"})
    await publisher.apply(change(bad, gateways=({"name": "tcp", "port": 5432, "upstream": "a"},)))
    edge = publisher._group_of(Node("1", cluster="edge"))
    assert (
        names(publisher.server.snapshot(EVERYONE.name), LISTENER)
        == names(publisher.server.snapshot(edge), LISTENER)
        == []
    )
    await publisher.apply(change(upstream("a", nodes={"clusters": ["edge"]})))
    edge = publisher._group_of(Node("1", cluster="edge"))
    assert (
        names(publisher.server.snapshot(edge), LISTENER),
        names(publisher.server.snapshot(EVERYONE.name), LISTENER),
    ) == (
        ["tcp"],
        [],
    )


async def test_the_names_of_a_refused_definition_are_not_looked_up_with_every_change() -> None:
    asked: list[str] = []

    async def lookup(question: Question) -> Answer:
        asked.append(question.name)
        raise OSError(-2, "unknown")

    publisher = Publisher(lookup)
    await publisher.apply(change(upstream("r", "dead.example", envoy={"connect_timeout": "0s"}), upstream("ok")))
    for number in range(3):
        await publisher.apply(change(upstream("ok", f"10.0.0.{number}")))
    assert asked == ["dead.example"]
    await publisher.apply(change(remove=("r",)))
    assert publisher.resolver._entries == {}


async def test_a_target_that_its_author_replaced_by_an_unknown_name_is_gone() -> None:
    publisher = Publisher(nowhere)
    await publisher.apply(change(upstream("a", "10.0.0.1")))
    await publisher.apply(change(upstream("a", "nowhere.example")))
    snapshot = publisher.server.snapshot(EVERYONE.name)
    resource = snapshot and snapshot.get(ENDPOINTS, "a")
    assert resource is not None
    assert b"10.0.0.1" not in resource.body


async def test_groups_that_nobody_is_in_are_forgotten() -> None:
    publisher = Publisher()
    for number in range(20):
        await publisher.apply(change(upstream("a", nodes={"ids": [f"n{number}"]})))
        publisher._group_of(Node(f"n{number}"))
    assert len(publisher.server.groups) <= 2


async def test_a_connected_node_follows_the_selectors_of_the_definitions() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", nodes={"clusters": ["edge"]}), upstream("shared")))
    port = await publisher.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(10):
        call = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        )()
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, node={"id": "n", "cluster": "core"})
        await call.write(request.SerializeToString())
        first = discovery_pb2.DeltaDiscoveryResponse.FromString(await call.read())
        assert [resource.name for resource in first.resources] == ["shared"]
        await publisher.apply(change(upstream("a", nodes={"clusters": ["core"]})))
        second = discovery_pb2.DeltaDiscoveryResponse.FromString(await call.read())
        assert [resource.name for resource in second.resources] == ["a"]
    await publisher.server.stop(0)


async def test_equal_definitions_give_equal_versions_in_every_process_and_order() -> None:
    one, two = Publisher(), Publisher()
    a, b = upstream("a", "10.0.0.1"), upstream("b", "10.0.0.2")
    await one.apply(change(a, b))
    await two.apply(change(b))
    await two.apply(change(upstream("c")))
    await two.apply(change(a, remove=("c",)))
    first, second = one.server.snapshot(EVERYONE.name), two.server.snapshot(EVERYONE.name)
    assert first is not None
    assert second is not None
    for type_url in (CLUSTER, ENDPOINTS):
        assert first.version(type_url) == second.version(type_url)
        assert first.resources(type_url) == second.resources(type_url)
