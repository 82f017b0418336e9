"""What a tool needs that has the address alone: reflection, by which every call is made, and health checking."""

import json
import re
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from management_grpc import TARGET, Api
from reflected import Reflected

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess, XdsServerProcess

PACKAGE = "xds_server.management.v1"


@pytest.fixture(scope="module")
def reflected(grpc_api: Api) -> Reflected:
    return Reflected(grpc_api.channel)


def test_every_service_and_call_of_protos_is_there(reflected: Reflected, root: Path) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (root / "protos").rglob("*.proto"))
    written = {
        f"{PACKAGE}.{name}": re.findall(r"^  rpc (\w+)", body, re.MULTILINE)
        for name, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    }
    assert len(written) >= 4
    others = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert {*reflected.services} == written.keys() | others
    for service, calls in written.items():
        assert [*reflected.methods(service)] == calls


def test_upstreams_and_gateways_by_reflection_alone(reflected: Reflected) -> None:
    upstream, gateway = {"targets": [TARGET]}, {"port": 10_000}
    for kind, fields, other in (("Upstream", upstream, {"description": "x"}), ("Gateway", gateway, {"port": 10_001})):
        calls = reflected.methods(f"{PACKAGE}.{kind}Service")
        made = calls["Put"](name="by-reflection", json=json.dumps(fields), message="why")
        assert made["changed"] is True
        shown = calls["Get"](name="by-reflection")
        assert json.loads(shown["json"]) == {"name": "by-reflection", **fields}
        assert shown in calls["List"](page_size=10)["definitions"]
        expected = {"name": "by-reflection", "expected_revision": shown["revision"]}
        patched = calls["Patch"](**expected, json=json.dumps(other))
        with pytest.raises(grpc.RpcError) as error:
            calls["Delete"](**expected)
        assert error.value.code() is grpc.StatusCode.ABORTED
        assert calls["Delete"](name="by-reflection", expected_revision=patched["definition_revision"])["changed"]


def test_targets_by_reflection_alone(reflected: Reflected) -> None:
    reflected.methods(f"{PACKAGE}.UpstreamService")["Put"](name="aimed", json=json.dumps({"targets": [TARGET]}))
    calls = reflected.methods(f"{PACKAGE}.TargetService")
    where = {"upstream": "aimed", "target": "10.0.0.1:80"}
    calls["Patch"](**where, patch={"state": "draining"})
    shown = calls["Get"](**where)
    assert (shown["state"], shown["override"]) == ("draining", {"state": "draining"})
    assert calls["List"](upstream="aimed")["targets"] == [shown]
    stream = [{**where, "patch": {"clear": ["state"]}}, {**where, "patch": {"state": "disabled"}}]
    assert calls["UpdateTargets"](stream)["applied"] == "2"
    assert calls["Get"](**where)["state"] == "disabled"
    calls["Put"](**{**where, "target": "10.0.0.2:80"}, json="{}")
    calls["Delete"](**where)
    assert [each["target"] for each in calls["List"](upstream="aimed")["targets"]] == ["10.0.0.2:80"]


def test_revisions_by_reflection_alone() -> None:
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        calls = Reflected(api.channel).methods(f"{PACKAGE}.RevisionService")
        document = json.dumps({"upstreams": [{"name": f"u{number}"} for number in range(12)]})
        assert len(calls["Apply"](json=document, dry_run=True)["preview"]["changes"]) == 12
        assert calls["Apply"](json=document, wait=100, timeout="5s")["result"]["revision"] == "1"
        told = calls["Watch"](after_revision=0)
        assert next(told) == {}, "after revision 0"
        held = calls["Apply"](json='{"upstreams": []}', prune=True)["result"]
        assert held["state"] == "held"
        assert calls["Confirm"](revision=held["revision"])["changed"]
        assert calls["Rollback"](revision=1, message="back")["result"]["changed"]
        listed = calls["List"](page_size=10)["revisions"]
        assert [each["revision"] for each in listed] == ["4", "3", "2", "1"]
        assert [next(told)["revision"] for _ in range(4)] == ["1", "2", "3", "4"]
        shown = calls["Get"](revision=4)
        assert (shown["refers_to"], shown["message"], len(shown["changes"])) == ("1", "back", 12)
        assert len(calls["Diff"](revision=1, to=3)["changes"]) == 12


@pytest.mark.envoy
def test_nodes_by_reflection_alone() -> None:
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        calls = Reflected(api.channel).methods(f"{PACKAGE}.NodeService")
        node = Bootstrap(node_id="reflected", xds_address=server.xds_address)
        with EnvoyProcess(node) as envoy:
            envoy.wait_until(lambda: calls["List"](page_size=10).get("nodes"), 10, "its node")
            assert [each["id"] for each in calls["List"](page_size=10)["nodes"]] == ["reflected"]
            assert calls["Get"](id="reflected")["connected"] is True


def test_health_until_the_server_stops() -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        health = health_pb2_grpc.HealthStub(api.channel)
        for service in ("", f"{PACKAGE}.UpstreamService", f"{PACKAGE}.RevisionService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == serving
        assert server.stop() == 0
        assert next(watch).status == not_serving
