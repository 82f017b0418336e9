"""Who may be which node: by every way to ask, and over TLS with the names that a certificate proves."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from certificates import Authority
from envoy.service.discovery.v3 import discovery_pb2
from live import DELTA, SOTW, ask, ended, read, request, serving
from scripted_client import cluster, names_of

from xds_server.xds import DiscoveryServer, Event, Node, Snapshot
from xds_server.xds.rest import rest_app

MESH = Path(__file__).parents[1] / "envoy" / "certs" / "mesh"
FETCH = "/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters"
STREAM_CLUSTERS = "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"
DELTA_CLUSTERS = "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"


def only_good(node: Node, names: tuple[str, ...] | None) -> str | None:
    return None if node.id == "good" else f"{node.id} is not good, and its certificate is for {names}"


@pytest.mark.parametrize("method", [SOTW, DELTA, STREAM_CLUSTERS, DELTA_CLUSTERS])
async def test_P21_a_stream_of_a_node_that_may_not_be_ends(method: str) -> None:
    events: list[Event] = []
    async with serving(authorize=only_good, observe=events.append) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        good = await ask(channel, method, node="good")
        assert names_of(await read(good, delta="Delta" in method)) == ["a"]
        events.clear()
        bad = await ask(channel, method, node="bad")
        assert await ended(bad) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "bad is not good, and its certificate is for None",
        )
        async with asyncio.timeout(10):
            while len(events) < 2:  # the client may see the end first
                await asyncio.sleep(0.01)
        assert [event.kind for event in events] == ["refused", "closed"], "it was sent nothing"
        refused, closed = events
        assert refused.node is not None
        assert (refused.node.id, refused.stream, refused.detail) == ("bad", closed.stream, closed.detail)
        assert [client.node.id for client in server.clients] == ["good"]
        server.set_snapshot(Snapshot.of([cluster("b")]))
        assert "b" in names_of(await read(good, delta="Delta" in method)), "everyone else goes on"


async def test_P21_a_refused_node_makes_no_group() -> None:
    async with serving(group_of=lambda node: node.id, authorize=only_good) as (server, channel):
        await ended(await ask(channel, node="bad"))
        assert server.groups == ()


async def test_P21_a_unary_call_of_a_node_that_may_not_be_is_refused() -> None:
    async with serving(authorize=only_good) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        fetch = channel.unary_unary(FETCH)
        answer = discovery_pb2.DiscoveryResponse.FromString(await fetch(request(node="good")))
        assert names_of(answer) == ["a"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fetch(request(node="bad"))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "bad is not good" in (refused.value.details() or "")


async def test_P21_a_poller_that_may_not_be_is_refused() -> None:
    events: list[Event] = []
    server = DiscoveryServer(authorize=only_good, observe=events.append)
    server.set_snapshot(Snapshot.of([cluster("a")]))
    app = rest_app(server, lambda request: (request.headers["x-name"],))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control-plane") as http:

        async def poll(node: str, **headers: str) -> httpx.Response:
            headers["x-name"] = f"{node}.example"
            return await http.post("/v3/discovery:clusters", json={"node": {"id": node}}, headers=headers)

        assert (await poll("good")).status_code == 200
        refused = await poll("bad")
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"] == "bad is not good, and its certificate is for ('bad.example',)"
        assert [(event.kind, event.stream, event.node and event.node.id) for event in events] == [("refused", 0, "bad")]
        page = await poll("good", origin="http://evil.example")
        assert (page.status_code, page.json()["detail"]) == (
            403,
            "a web page is no node: discovery is not for browsers",
        )


async def test_P21_the_names_are_those_that_the_certificate_proves(tmp_path: Path) -> None:
    asked: list[tuple[str, ...] | None] = []
    authority = Authority()
    cert, key = authority.issue(tmp_path / "server", "localhost").content()
    clients = authority.pem + (MESH / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, cert)], clients, require_client_auth=True)
    server = DiscoveryServer(authorize=lambda node, names: asked.append(names))
    server.set_snapshot(Snapshot.of([cluster("a")]))
    port = await server.start("127.0.0.1:0", credentials)
    shown = {
        "a": ((MESH / "a.pem").read_bytes(), (MESH / "a.key").read_bytes()),
        "edge-1": authority.issue(tmp_path / "edge", "edge-1", "edge-2", "10.0.0.1", "ops@example.com").content(),
    }
    for chain, private in shown.values():
        channel_credentials = grpc.ssl_channel_credentials(authority.pem, private, chain)
        async with grpc.aio.secure_channel(f"localhost:{port}", channel_credentials) as channel:
            assert names_of(await read(await ask(channel, node="n"))) == ["a"]
            await channel.unary_unary(FETCH)(request(node="n"))
    await server.stop(0)
    mesh, ours = ("a.internal", "spiffe://internal/a"), ("edge-1", "edge-2")
    assert asked == [mesh, mesh, ours, ours], "DNS names and URIs; addresses and mail are none"


async def test_P21_a_rule_that_fails_lets_nobody_in() -> None:
    def broken(node: Node, names: Any) -> str | None:
        raise KeyError("secret")

    async with serving(authorize=broken) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        assert await ended(await ask(channel)) == (grpc.StatusCode.INTERNAL, "an error of the server: see its log")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(FETCH)(request())
        assert "secret" not in (refused.value.details() or "")


async def test_a_port_with_tls_is_taken_as_others_are(tmp_path: Path) -> None:
    cert, key = Authority().issue(tmp_path / "server", "localhost").content()
    server = DiscoveryServer()
    port = await server.start("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    try:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: it is in use"):
            await DiscoveryServer().start(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, cert)]))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="localhost"
            )
    finally:
        await server.stop(0)


def test_authorize_must_be_a_plain_function() -> None:
    async def later(node: Node, names: Any) -> str | None:
        return None

    with pytest.raises(TypeError, match="authorize must be a plain function"):
        DiscoveryServer(authorize=later)  # type: ignore[arg-type]
