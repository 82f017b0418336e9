"""The shape of a stream: services, types, the node, nonces and versions (S1 to S13)."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from live import ADS, DELTA, SOTW, ask, ended, read, request, serving
from scripted_client import (
    MAKERS,
    Client,
    client,
    cluster,
    endpoints,
    kind_of,
    listener,
    names_of,
    routes,
    secret,
    web,
)

from xds_server.xds import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
    Node,
    Snapshot,
)
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import Group
from xds_server.xds.sotw import SotwStream
from xds_server.xds.stream import InvalidRequestError

SERVICES = {
    CLUSTER: "cluster.v3.ClusterDiscoveryService/{}Clusters",
    ENDPOINTS: "endpoint.v3.EndpointDiscoveryService/{}Endpoints",
    LISTENER: "listener.v3.ListenerDiscoveryService/{}Listeners",
    ROUTES: "route.v3.RouteDiscoveryService/{}Routes",
    SCOPED_ROUTES: "route.v3.ScopedRoutesDiscoveryService/{}ScopedRoutes",
    SECRET: "secret.v3.SecretDiscoveryService/{}Secrets",
    RUNTIME: "runtime.v3.RuntimeDiscoveryService/{}Runtime",
    EXTENSION_CONFIG: "extension.v3.ExtensionConfigDiscoveryService/{}ExtensionConfigs",
}
CDS = "/envoy.service.cluster.v3.ClusterDiscoveryService/"


@pytest.mark.parametrize("variant", ["Stream", "Delta"])
@pytest.mark.parametrize("type_url", SERVICES, ids=kind_of)
async def test_S1_every_type_has_a_service_of_its_own_and_all_are_on_ads(type_url: str, variant: str) -> None:
    own = "/envoy.service." + SERVICES[type_url].format(variant)
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of(make("a") for make in MAKERS.values()))
        for method, said in ((own, ""), (own, type_url), (f"{ADS}{variant}AggregatedResources", type_url)):
            answer = await read(await ask(channel, method, said, "a"), delta=variant == "Delta")
            assert names_of(answer) == ["a"]
            assert answer.type_url == type_url, "S2: said whether asked or not"


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S2_a_request_without_a_type_ends_an_aggregated_stream(method: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of())
        status, words = await ended(await ask(channel, method, ""))
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert "type_url" in words


def test_S2_an_empty_type_on_a_per_type_stream_is_the_type_of_its_service() -> None:
    for kind in (SotwStream, DeltaStream):
        here = client(kind, ENDPOINTS)
        here.publish(Snapshot.of(web("a")))
        (answer,) = here.ask("", "a")
        assert (answer.type_url, names_of(answer)) == (ENDPOINTS, ["a"])
        # The same subscription, whether its type is said or not.
        assert here.ask(ENDPOINTS, *(() if here.delta else "a"), nonce=answer.nonce) == []
        assert [event.kind for event in here.events].count("acknowledged") == 1


@pytest.mark.parametrize("variant", ["Stream", "Delta"])
async def test_S3_a_per_type_stream_refuses_another_type(variant: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of(web("a")))
        status, words = await ended(await ask(channel, f"{CDS}{variant}Clusters", ENDPOINTS, "a"))
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert "Cluster" in words
        assert ENDPOINTS in words


def test_S4_the_node_of_the_first_message_counts_for_the_whole_stream(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (answer,) = either.ask(CLUSTER, node="edge-1")
    either.ask(CLUSTER, nonce=answer.nonce, node="")
    assert [names_of(r) for r in either.ask(ENDPOINTS, "a", node="")] == [["a"]]
    assert {event.node and event.node.id for event in either.events} == {"edge-1"}


@pytest.mark.parametrize(
    "first", [(ENDPOINTS, "a"), (LISTENER,), (ROUTES, "r"), (SECRET, "s")], ids=lambda f: f[0][-12:]
)
def test_S5_any_type_may_come_first(either: Client, first: tuple[str, ...]) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a"), secret("s")]))
    type_url, *names = first
    (answer,) = either.ask(type_url, *names)
    assert answer.type_url == type_url
    assert either.events[0].kind == "opened"
    assert CLUSTER in [r.type_url for r in either.ask(CLUSTER, node="")]


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S6_a_first_request_without_a_node_id_ends_the_stream_with_a_reason(method: str) -> None:
    asked: list[Node] = []
    async with serving(group_of=lambda node: asked.append(node) or "") as (server, channel):
        server.set_snapshot(Snapshot.of(web("a")))
        status, words = await ended(await ask(channel, method, node=""))
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert "node" in words
        assert asked == [], "nobody's snapshot was looked for"


@pytest.mark.parametrize("method", [SOTW, DELTA])
async def test_S6_what_is_no_request_ends_the_stream_with_a_reason(method: str) -> None:
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of())
        call = channel.stream_stream(method)()
        await call.write(b"\xff\xff\xff")
        status, words = await ended(call)
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert "DiscoveryRequest" in words


def test_S6_a_node_that_cannot_be_read_ends_its_stream(either: Client) -> None:
    made = either.stream.request(type_url=CLUSTER)
    made.node.id = "n"
    made.node.metadata["load"] = float("nan")
    with pytest.raises(InvalidRequestError, match="node"):
        either.stream.receive(made)


def test_S7_another_node_later_changes_nothing(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (answer,) = either.ask(CLUSTER, node="one")
    either.stream._group_of = lambda node: pytest.fail("the stream was keyed again")
    assert either.ask(CLUSTER, nonce=answer.nonce, node="two") == []
    assert {event.node and event.node.id for event in either.events} == {"one"}


def test_S4_R33_a_long_node_with_every_request_is_read_once(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    seen: list[Node] = []
    groups = either.stream._group_of
    either.stream._group_of = lambda node: seen.append(node) or groups(node)
    for number in range(20):
        made = either.stream.request(type_url=CLUSTER)
        made.node.id = "n"
        for extension in range(516):
            made.node.extensions.add(name=f"envoy.filters.http.some_filter_{extension}", category="envoy.filters.http")
        either.stream.receive(made)
        assert len(either.sent()) == (number == 0) or not either.delta
    assert len(seen) == 1


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S8_streams_of_one_node_share_nothing(kind: Any) -> None:
    group = Group("g")
    group.publish(Snapshot.of(web("a", "b")))
    events: list[Any] = []
    one, two = (Client(kind(lambda node: group, observe=events.append), group, events) for _ in range(2))
    (first,) = one.want(ENDPOINTS, "a")
    (second,) = two.want(ENDPOINTS, "b")
    assert (names_of(first), names_of(second)) == (["a"], ["b"])
    one.reject(first)
    two.accept(second)
    assert [(event.kind, event.stream) for event in events if event.kind in ("acknowledged", "rejected")] == [
        ("rejected", one.stream.number),
        ("acknowledged", two.stream.number),
    ]
    change = group.snapshot.change([endpoints("b", 2)]) if group.snapshot else Snapshot.of()
    group.publish(change)
    assert one.sent() == []
    assert [names_of(r) for r in two.sent()] == [["b"]]


def test_S9_nonces_are_unique_over_the_types_of_a_stream(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a")]))
    nonces = []
    for number in range(20):
        for type_url, *names in ((CLUSTER,), (ENDPOINTS, "a"), (LISTENER,), (ROUTES, "r")):
            sent = either.want(type_url, *names) if number == 0 else []
            nonces += [r.nonce for r in sent]
            either.accept(*sent)
        either.change(*web("a", seconds=number + 2), listener("l", 1000 + number), routes("r", "a", str(number)))
        sent = either.sent(after=3)
        nonces += [r.nonce for r in sent]
        either.accept(*sent)
    assert len(nonces) > 60
    assert all(nonces)
    assert len(set(nonces)) == len(nonces)


def test_S9_a_nonce_of_another_stream_answers_nothing(stream_of: Callable[[str], Client]) -> None:
    here, there = stream_of(ENDPOINTS), stream_of(ENDPOINTS)
    there.publish(Snapshot.of(web("a")))
    here.publish(Snapshot.of(web("a")))
    there.want(ENDPOINTS, "a")
    there.accept(*there.want(ENDPOINTS))
    there.change(endpoints("a", 2))
    (old,) = there.want(ENDPOINTS, "a")
    (answer,) = here.want(ENDPOINTS, "a")
    assert old.nonce != answer.nonce
    assert here.ack(old, *(() if here.delta else "a")) == []
    assert here.told("acknowledged") == []


def test_S10_a_version_is_of_a_types_content_whatever_the_stream(stream_of: Callable[[str], Client]) -> None:
    snapshot = Snapshot.of(web("a"))
    versions = []
    for _ in range(2):
        here = stream_of(CLUSTER)
        here.publish(snapshot)
        (answer,) = here.want(CLUSTER)
        versions.append(answer.system_version_info if here.delta else answer.version_info)
        here.accept(answer)
        here.change(endpoints("a", 5))  # another type: no new version of this one, and nothing to say
        assert here.sent(after=5) == []
        here.change(cluster("a", 5))
        (answer,) = here.sent()
        versions.append(answer.system_version_info if here.delta else answer.version_info)
    assert versions[:2] == versions[2:]
    assert versions[0] != versions[1]


def test_S11_every_response_and_every_resource_in_it_says_its_type(stream_of: Callable[[str], Client]) -> None:
    for type_url, make in MAKERS.items():
        here = stream_of(type_url)
        here.publish(Snapshot.of(make(name) for make in MAKERS.values() for name in ("a", "b")))
        (answer,) = here.want(type_url, "a", "b")
        bodies = [entry.resource if here.delta else entry for entry in answer.resources]
        assert [answer.type_url, *(body.type_url for body in bodies)] == [type_url] * 3
        assert names_of(answer) == ["a", "b"]
        assert [body.value for body in bodies] == [make("a").body, make("b").body]


@pytest.mark.parametrize("method", [SOTW, DELTA, f"{CDS}StreamClusters", f"{CDS}DeltaClusters"])
async def test_S12_every_response_says_who_answers(method: str) -> None:
    delta = "/Delta" in method
    async with serving(identifier="replica-7") as (server, channel):
        server.set_snapshot(snapshot := Snapshot.of(web("a")))
        call = await ask(channel, method)
        first = await read(call, delta=delta)
        await call.write(request(CLUSTER, delta=delta, response_nonce=first.nonce))
        server.set_snapshot(snapshot.change([cluster("b")]))
        second = await read(call, delta=delta)
        assert [r.control_plane.identifier for r in (first, second)] == ["replica-7"] * 2


def test_S13_a_type_that_is_rejected_or_never_answered_holds_up_no_other(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a")]))
    for type_url, *names in ((CLUSTER,), (ENDPOINTS, "a"), (LISTENER,), (ROUTES, "r")):
        for answer in either.want(type_url, *names):
            if answer.type_url == LISTENER:
                either.reject(answer)
            elif answer.type_url != ENDPOINTS:  # these are never answered
                either.accept(answer)
    either.change(cluster("a", 7), routes("r", "a", "a2"))
    at_once = {r.type_url for r in either.sent()}
    assert at_once >= {CLUSTER, ROUTES}
    assert ENDPOINTS in at_once | {r.type_url for r in either.sent(after=1)}, "at its own pace"
