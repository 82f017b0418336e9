"""REST: `POST /v3/discovery:<type>`, as an ASGI application and over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_client import cluster, endpoints, listener, routes, web

from xds_server.xds import CLUSTER, ENDPOINTS, DiscoveryServer, Node, Resource, Snapshot
from xds_server.xds.rest import MAX_BODY, PATHS, rest_app

NODE = {"id": "n", "cluster": "c", "extensions": [{"name": "x", "category": "y"}], "user_agent_name": "envoy"}


@pytest.fixture
def server() -> DiscoveryServer:
    return DiscoveryServer()


@pytest.fixture
async def http(server: DiscoveryServer) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(rest_app(server))
    async with httpx.AsyncClient(transport=transport, base_url="http://control-plane") as client:
        yield client


async def poll(http: httpx.AsyncClient, path: str, *names: str, version: str = "", **more: Any) -> httpx.Response:
    body = {"version_info": version, "node": NODE, "resource_names": names, **more}
    return await http.post(f"/v3/discovery:{path}", json=body)


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry.get("cluster_name") or entry["name"] for entry in answer.json()["resources"]]


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        ("clusters", [], ["a", "b"]),
        ("clusters", ["b"], ["b"]),
        ("clusters", ["*"], ["a", "b"]),
        ("endpoints", ["a"], ["a"]),
        ("endpoints", ["b", "a"], ["a", "b"]),
        ("listeners", [], ["l"]),
        ("routes", ["r"], ["r"]),
    ],
)
async def test_V16_V17_a_poller_gets_what_it_asks_for(
    server: DiscoveryServer, http: httpx.AsyncClient, path: str, asked: list[str], expected: list[str]
) -> None:
    server.set_snapshot(Snapshot.of([*web("a", "b"), listener("l"), routes("r", "a")]))
    answer = await poll(http, path, *asked)
    assert names(answer) == expected
    assert answer.headers["content-type"] == "application/json"
    data = answer.json()
    assert data["version_info"]
    assert {entry["@type"] for entry in data["resources"]} == {data["type_url"]}
    assert (await poll(http, path, *asked, version=data["version_info"])).status_code == 304


async def test_V16_a_path_that_there_is_not_is_told_those_that_there_are(http: httpx.AsyncClient, root: Path) -> None:
    answer = await poll(http, "cluster")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    guide = (root / "docs" / "library.md").read_text(encoding="utf-8")
    for path in PATHS:
        assert path in answer.json()["detail"]
        assert f"`{path}`" in guide
    assert (await http.get("/v3/discovery:clusters")).status_code == 405


async def test_V16_every_type_has_its_path(server: DiscoveryServer, http: httpx.AsyncClient) -> None:
    from envoy.config.core.v3 import extension_pb2
    from envoy.config.route.v3 import scoped_route_pb2
    from envoy.extensions.filters.http.router.v3 import router_pb2
    from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
    from envoy.service.runtime.v3 import rtds_pb2

    filter_ = extension_pb2.TypedExtensionConfig(name="filter")
    filter_.typed_config.Pack(router_pb2.Router())
    scope = scoped_route_pb2.ScopedRouteConfiguration(name="scope", route_configuration_name="r")
    scope.key.fragments.add().string_key = "k"
    messages = [filter_, scope, secret_pb2.Secret(name="secret"), rtds_pb2.Runtime(name="layer")]
    messages[2].generic_secret.secret.inline_string = "s"
    server.set_snapshot(Snapshot.of([Resource.of(message) for message in messages]))
    assert names(await poll(http, "extension_configs", "filter")) == ["filter"]
    assert names(await poll(http, "scoped-routes")) == ["scope"]
    assert names(await poll(http, "secrets", "secret")) == ["secret"]
    assert names(await poll(http, "runtime", "layer")) == ["layer"]


async def test_V17_a_change_that_does_not_concern_a_poller_is_not_told(
    server: DiscoveryServer, http: httpx.AsyncClient
) -> None:
    server.set_snapshot(Snapshot.of(web("a", "b")))
    version = (await poll(http, "endpoints", "a")).json()["version_info"]
    server.set_snapshot(Snapshot.of([*web("a"), endpoints("b", weight=9)]))
    assert (await poll(http, "endpoints", "a", version=version)).status_code == 304
    server.set_snapshot(Snapshot.of([endpoints("a", weight=9)]))
    assert names(await poll(http, "endpoints", "a", version=version)) == ["a"]


async def test_V18_a_poller_that_refuses_is_answered_each_time(
    server: DiscoveryServer, http: httpx.AsyncClient
) -> None:
    server.set_snapshot(Snapshot.of([cluster("a")]))
    for _ in range(3):
        assert names(await poll(http, "clusters", version="the last good one")) == ["a"]


async def test_V19_B34_S16_nothing_is_served_before_there_is_something(
    server: DiscoveryServer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xds_server.xds.server.POLL_WAIT", 0.1)
    answer = await poll(http, "clusters")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    server.set_snapshot(Snapshot.of())
    assert (await poll(http, "clusters")).json().get("resources", []) == [], "S15: a definite none"
    server.set_snapshot(Snapshot.of([cluster("a")]))
    assert names(await poll(http, "clusters")) == ["a"]


async def test_S14_a_poller_is_held_for_a_moment_while_there_is_nothing(
    server: DiscoveryServer, http: httpx.AsyncClient
) -> None:
    polling = [asyncio.create_task(poll(http, "clusters")) for _ in range(3)]
    done, _ = await asyncio.wait(polling, timeout=0.2)
    assert not done
    server.set_snapshot(Snapshot.of([cluster("a")]))
    async with asyncio.timeout(1):
        assert [names(await answer) for answer in polling] == [["a"]] * 3


async def test_S39_of_what_does_not_exist_nothing_is_said(server: DiscoveryServer, http: httpx.AsyncClient) -> None:
    server.set_snapshot(Snapshot.of(web("a")))
    assert (await poll(http, "endpoints", "nobody")).status_code == 304
    assert (await poll(http, "endpoints")).status_code == 304, "S48: no wildcard for endpoints"
    assert names(await poll(http, "endpoints", "a", "nobody")) == ["a"]


async def test_groups_are_those_of_the_node() -> None:
    seen: list[Node] = []

    def group_of(node: Node) -> str:
        seen.append(node)
        return node.cluster

    server = DiscoveryServer(group_of)
    # The callers' own versions are equal; what they stand for is not.
    for group in ("c", "other"):
        resources = [Resource.of(message_of(group, n), version="1") for n in "xy"]
        server.set_snapshot(Snapshot.of(resources, versions={CLUSTER: "1"}), group)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rest_app(server)), base_url="http://x") as http:
        first = await poll(http, "clusters")
        second = await poll(http, "clusters", node={"id": "m", "cluster": "other"})
        assert (names(first), names(second)) == (["c-x", "c-y"], ["other-x", "other-y"])
    assert seen[0].service == "rest"
    assert seen[0].user_agent == "envoy 0.0.0"


def message_of(group: str, name: str) -> Any:
    from envoy.config.cluster.v3 import cluster_pb2

    return cluster_pb2.Cluster(name=f"{group}-{name}")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not a DiscoveryRequest as JSON"),
        (b"[]", "not a DiscoveryRequest as JSON"),
        (b"\xff", "not a DiscoveryRequest as JSON"),
        (b"[" * 100_000, "not a DiscoveryRequest as JSON"),
        (b'{"node": 3}', "not a DiscoveryRequest as JSON"),
        (b'{"node": {"id": "n"}, "resource_names": "a"}', "not a DiscoveryRequest as JSON"),
        (b"{}", "node.id"),
        (b'{"node": {"id": ""}}', "node.id"),
        (json.dumps({"node": NODE, "type_url": ENDPOINTS}).encode(), "is for"),
        (b" " * (MAX_BODY + 1), "longer than"),
    ],
    ids=["empty", "list", "bytes", "deep", "node", "names", "no node", "no id", "type", "long"],
)
async def test_S6_a_request_that_cannot_be_read_is_refused_with_the_reason(
    server: DiscoveryServer, http: httpx.AsyncClient, body: bytes, words: str
) -> None:
    server.set_snapshot(Snapshot.of([cluster("a")]))
    answer = await http.post("/v3/discovery:clusters", content=body)
    assert answer.status_code == (413 if len(body) > MAX_BODY else 400)
    assert words in answer.json()["detail"]
    assert len(answer.text) < 2_000


async def test_a_newer_client_may_say_more_than_is_known(server: DiscoveryServer, http: httpx.AsyncClient) -> None:
    server.set_snapshot(Snapshot.of([cluster("a")]))
    assert names(await poll(http, "clusters", of_the_future=1)) == ["a"]


def cluster_with(type_name: str) -> bytes:
    """An encoded Cluster with an extension of that type."""
    from envoy.config.cluster.v3 import cluster_pb2

    message = cluster_pb2.Cluster(name="a")
    message.typed_extension_protocol_options["x"].type_url = f"type.googleapis.com/{type_name}"
    message.typed_extension_protocol_options["x"].value = b"x"
    return bytes(message.SerializeToString())


async def test_a_type_that_is_not_known_has_no_json(server: DiscoveryServer, http: httpx.AsyncClient) -> None:
    unknown = Resource.encode(CLUSTER, "a", cluster_with("some.Thing"))
    for resource in (Resource.encode(CLUSTER, "a", b"\xff\xff"), unknown):
        server.set_snapshot(Snapshot.of([resource]))
        answer = await poll(http, "clusters")
        assert answer.status_code == 500
        assert "a: " in answer.json()["detail"]


async def test_many_pollers_of_one_big_answer_share_it_and_nothing_stands_still(
    server: DiscoveryServer, http: httpx.AsyncClient
) -> None:
    server.set_snapshot(Snapshot.of([cluster(f"c{i}") for i in range(2_000)]))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - before)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(*(poll(http, "clusters") for _ in range(20)))
    watching.cancel()
    assert {len(names(answer)) for answer in answers} == {2_000}
    assert longest < 1
