"""Nodes over gRPC, and writes that wait for them, with real Envoys."""

import json
from collections.abc import Iterator

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from management_grpc import Api, refused
from rig import free_port, target

from xds_server.bootstrap import Bootstrap
from xds_server.management.v1 import nodes_pb2, revisions_pb2
from xds_server.testing import Backend, EnvoyProcess, XdsServerProcess

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def envoy(server: XdsServerProcess, grpc_api: Api) -> Iterator[EnvoyProcess]:
    bootstrap = Bootstrap(node_id="edge-1", node_cluster="edge", xds_address=server.xds_address, metadata={"team": "a"})
    with EnvoyProcess(bootstrap) as envoy:
        envoy.wait_until(lambda: grpc_api.nodes.List(nodes_pb2.ListNodesRequest()).nodes, 10, "its node")
        yield envoy


def node(api: Api) -> nodes_pb2.Node:
    return api.nodes.Get(nodes_pb2.GetNodeRequest(id="edge-1"))  # type: ignore[no-any-return]


@pytest.mark.usefixtures("envoy")
def test_a_node_is_shown_as_http_shows_it(grpc_api: Api, api: httpx.Client) -> None:
    shown = node(grpc_api)
    assert (shown.id, shown.cluster, shown.connected, shown.service, shown.variant) == (
        "edge-1",
        "edge",
        True,
        "aggregated",
        "delta",
    )
    assert shown.version.startswith("envoy ")
    assert shown.types["Cluster"].status in ("SYNCED", "STALE")
    (listed,) = grpc_api.nodes.List(nodes_pb2.ListNodesRequest()).nodes
    assert listed.id == shown.id
    http = api.get("/v1/nodes/edge-1").json()
    assert MessageToDict(shown.metadata) == http["metadata"]
    plain = MessageToDict(shown, preserving_proto_field_name=True)
    missing = {name for name, value in http.items() if value not in (None, "", [], {}) and name not in plain}
    assert missing == set(), "nothing that HTTP shows is missing here"
    for name, type in http["types"].items():
        assert {field for field, value in type.items() if value not in (None, "", [])} <= plain["types"][name].keys()
    assert refused(lambda: grpc_api.nodes.Get(nodes_pb2.GetNodeRequest(id="nobody"))).code == "NOT_FOUND"


def test_a_write_waits_for_the_envoys_that_it_concerns(grpc_api: Api, envoy: EnvoyProcess) -> None:
    with Backend("a") as a:
        answer = grpc_api.apply({"name": "waited", "targets": [target(a)]}, wait=100, timeout="10s")
        assert (answer.wait.ok, answer.wait.share) == (True, 100)
        assert answer.wait.detail == "1 of 1 affected Envoys acknowledged it"
        assert (answer.wait.delivery.affected, answer.wait.delivery.acknowledged) == (1, 1)
        envoy.wait_for_endpoints("waited", {a.address: "HEALTHY"}, 1)
    revision = grpc_api.revisions.Get(revisions_pb2.GetRevisionRequest(revision=answer.result.revision))
    assert (revision.delivery.published, revision.delivery.acknowledged) == (True, 1)
    assert not revision.degraded
    nobody = grpc_api.apply({"name": "for-others", "nodes": {"ids": ["edge-2"]}}, wait=100)
    assert (nobody.wait.ok, nobody.wait.detail) == (True, "no connected Envoy is affected")


@pytest.mark.usefixtures("envoy")
def test_a_rejection_names_the_definition(grpc_api: Api, api: httpx.Client) -> None:
    gateway = {"name": "taken", "address": "192.0.2.1", "port": free_port()}  # no address of this machine
    request = revisions_pb2.ApplyRequest(json=json.dumps({"gateways": [gateway]}), wait=100, timeout="5s")
    answer = grpc_api.revisions.Apply(request)
    assert not answer.wait.ok
    (rejected,) = answer.wait.delivery.rejected
    assert rejected.node == "edge-1"
    assert [(each.kind, each.name) for each in rejected.upstreams] == [("gateway", "taken")]
    revision = grpc_api.revisions.Get(revisions_pb2.GetRevisionRequest(revision=answer.result.revision))
    (degradation,) = revision.degraded
    assert (degradation.node, degradation.kind, degradation.name) == ("edge-1", "gateway", "taken")
    assert node(grpc_api).types["Listener"].rejection.message
    assert node(grpc_api).status == "NACKED"
    newest, *_ = grpc_api.revisions.List(revisions_pb2.ListRevisionsRequest()).revisions
    assert [*newest.degraded] == [degradation]
    http = api.get(f"/v1/revisions/{answer.result.revision}").json()
    assert MessageToDict(degradation) == http["degraded"][0]


def test_any_change_is_waited_for_by_its_number(grpc_api: Api, envoy: EnvoyProcess) -> None:
    with Backend("a") as a:
        grpc_api.put("by-number", target(a))
        made = grpc_api.patch("by-number", a.address, state="draining")
        got = grpc_api.revisions.Get(
            revisions_pb2.GetRevisionRequest(revision=made.revision, wait=100, timeout="20s"), timeout=60
        )
        assert (got.wait.ok, got.wait.share, got.wait.delivery.acknowledged) == (True, 100, 1)
        assert not grpc_api.revisions.Get(revisions_pb2.GetRevisionRequest(revision=made.revision)).HasField("wait")
