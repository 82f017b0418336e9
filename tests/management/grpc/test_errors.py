"""Errors over gRPC: a status for each kind, the same sentence as over HTTP, and each field that is wrong."""

import json
import sqlite3
from pathlib import Path

import httpx
import pytest
from management_grpc import TARGET, Api, Refusal, refused

from xds_server.management.grpc.calls import client_address
from xds_server.management.v1 import definitions_pb2, revisions_pb2, targets_pb2
from xds_server.testing import XdsServerProcess


def put(api: Api, text: str, name: str = "refused", **more: object) -> object:
    return api.upstreams.Put(definitions_pb2.PutDefinitionRequest(name=name, json=text, **more))  # type: ignore[arg-type]


def test_every_field_that_is_wrong_is_named(grpc_api: Api, api: httpx.Client) -> None:
    wrong = {"targets": [{"host": "10.0.0.1", "port": 0}], "algorithm": "best", "timeout": 5}
    answer = api.put("/v1/upstreams/refused", json=wrong)
    refusal = refused(lambda: put(grpc_api, json.dumps(wrong)))
    assert (answer.status_code, refusal.code) == (422, "INVALID_ARGUMENT")
    assert refusal.message == answer.json()["detail"]
    assert refusal.fields.keys() == {"targets[0].port", "algorithm", "timeout"}
    assert sorted(refusal.fields.values()) == sorted(each["detail"] for each in answer.json()["errors"])
    assert refused(lambda: grpc_api.get("refused")).code == "NOT_FOUND", "nothing was written"


@pytest.mark.parametrize("text", ["", "{", '{"targets": [], "targets": []}', '{"timeout": NaN}', "[" * 100_000])
def test_what_cannot_be_read(grpc_api: Api, api: httpx.Client, text: str) -> None:
    answer = api.put("/v1/upstreams/refused", content=text)
    refusal = refused(lambda: put(grpc_api, text))
    assert (answer.status_code, refusal.code) == (400, "INVALID_ARGUMENT")
    assert refusal.message == answer.json()["detail"]
    assert refusal.fields == {"json": refusal.message}


def test_more_problems_than_go_into_an_answer(grpc_api: Api) -> None:
    wrong = [{"name": f"ü{number}" + "ß" * 300, "targetz": []} for number in range(500)]
    refusal = refused(lambda: grpc_api.apply(*wrong))
    assert refusal.code == "INVALID_ARGUMENT", "and not that the answer was too long"
    assert refusal.message.endswith("…")
    assert refusal.fields["json"].endswith("more problems: HTTP tells them all")
    assert len(refusal.fields) > 2


def test_definitions_that_clash(grpc_api: Api, api: httpx.Client) -> None:
    grpc_api.put("first", hostnames=["clash.example"])
    answer = api.put("/v1/upstreams/second", json={"hostnames": ["clash.example"]})
    refusal = refused(lambda: grpc_api.put("second", hostnames=["clash.example"]))
    assert (answer.status_code, refusal.code) == (422, "INVALID_ARGUMENT")
    assert refusal.message == answer.json()["detail"]
    assert refusal.fields.keys() == {"hostnames"}


def test_what_there_is_not(grpc_api: Api, api: httpx.Client) -> None:
    grpc_api.put("there", TARGET)
    delete = definitions_pb2.DeleteDefinitionRequest(name="nowhere")
    patch = definitions_pb2.PatchDefinitionRequest(name="nowhere", json="{}")
    for call, address in (
        (lambda: grpc_api.get("nowhere"), "/v1/upstreams/nowhere"),
        (lambda: grpc_api.upstreams.Delete(delete), "/v1/upstreams/nowhere"),
        (lambda: grpc_api.upstreams.Patch(patch), "/v1/upstreams/nowhere"),
        (lambda: grpc_api.target("nowhere", "10.0.0.1:80"), "/v1/upstreams/nowhere/targets/10.0.0.1:80"),
        (lambda: grpc_api.target("there", "10.0.0.9:80"), "/v1/upstreams/there/targets/10.0.0.9:80"),
        (lambda: grpc_api.patch("there", "10.0.0.9:80", weight=0), "/v1/upstreams/there/targets/10.0.0.9:80"),
        (
            lambda: grpc_api.revisions.Get(revisions_pb2.GetRevisionRequest(revision=99_999)),
            "/v1/revisions/99999",
        ),
    ):
        refusal = refused(call)
        assert refusal.code == "NOT_FOUND"
        assert refusal.message == api.get(address).json()["detail"]


def test_arguments_that_mean_nothing(grpc_api: Api) -> None:
    grpc_api.put("argued", TARGET)
    revisions = grpc_api.revisions
    for call, field in (
        (lambda: put(grpc_api, "{}", message="x" * 2001), "message"),
        (lambda: put(grpc_api, json.dumps({"description": "x" * (4 << 20)})), "json"),
        (lambda: revisions.Get(revisions_pb2.GetRevisionRequest()), "revision"),
        (lambda: revisions.Get(revisions_pb2.GetRevisionRequest(revision=2**40)), "revision"),
        (lambda: revisions.Diff(revisions_pb2.DiffRequest(revision=1, to=0)), "to"),
        (lambda: revisions.List(revisions_pb2.ListRevisionsRequest(page_token="x")), "page_token"),
        (lambda: revisions.List(revisions_pb2.ListRevisionsRequest(page_token="²")), "page_token"),
        (lambda: grpc_api.apply(wait=101.0), "wait"),
        (lambda: grpc_api.apply(wait=50.0, timeout="30"), "timeout"),
        (lambda: next(grpc_api.watch(-1)), "after_revision"),
        (lambda: grpc_api.patch("argued", "10.0.0.1:80", weight=2_000_000), "weight"),
        (lambda: grpc_api.patch("argued", "10.0.0.1:80", state="away"), "state"),
        (lambda: grpc_api.patch("argued", "10.0.0.1:80", clear=["wieght"]), "clear"),
        (lambda: grpc_api.patch("argued", "10.0.0.1:80", weight=1, clear=["weight"]), "clear"),
    ):
        refusal = refused(call)
        assert (refusal.code, *refusal.fields) == ("INVALID_ARGUMENT", field), refusal


def test_what_a_file_defines_is_edited_there(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("upstreams: [{name: owned, targets: [{host: 10.0.0.1, port: 80}]}]", encoding="utf-8")
    with XdsServerProcess(file) as server, Api(server.grpc_address) as api:
        assert (api.get("owned").origin, api.get("owned").line) == (str(file), 1)
        with httpx.Client(base_url=f"http://{server.http_address}") as http:
            said = http.delete("/v1/upstreams/owned").json()["detail"]
        delete = definitions_pb2.DeleteDefinitionRequest(name="owned")
        target = targets_pb2.DeleteTargetRequest(upstream="owned", target="10.0.0.1:80")
        for call in (
            lambda: api.put("owned"),
            lambda: api.upstreams.Delete(delete),
            lambda: api.targets.Delete(target),
            lambda: api.apply({"name": "owned"}),
        ):
            refusal = refused(call)
            assert refusal.code == "FAILED_PRECONDITION"
            assert refusal.message == said
        assert api.patch("owned", "10.0.0.1:80", state="draining").changed, "operators may"


def test_a_store_that_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with XdsServerProcess(store=f"sqlite:///{path}") as server, Api(server.grpc_address) as api:
        api.put("kept", TARGET)
        with sqlite3.connect(path) as database:
            database.execute("ALTER TABLE revisions RENAME TO lost")
        for call in (
            lambda: api.put("refused"),
            lambda: api.revisions.List(revisions_pb2.ListRevisionsRequest()),
            lambda: api.targets.UpdateTargets(
                iter([targets_pb2.UpdateTargetsRequest(upstream="kept", target="10.0.0.1:80", patch={"weight": 0})])
            ),
        ):
            refusal = refused(call)
            assert refusal.code == "UNAVAILABLE"
            assert "no such table" in refusal.message
            assert "what is in force goes on being served" in refusal.message
        assert api.get("kept").name == "kept"
        with sqlite3.connect(path) as database:
            database.execute("ALTER TABLE lost RENAME TO revisions")
        server.wait_for_event("store.found")  # until then writes are refused at once
        assert api.put("again").changed
        assert "Traceback" not in server.log


def test_a_document_is_at_most_so_long(grpc_api: Api) -> None:
    request = revisions_pb2.ApplyRequest(json=" " * (64 << 20))
    refusal = refused(lambda: grpc_api.revisions.Apply(request))
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in refusal.message


def test_what_is_no_message_is_no_traceback(server: XdsServerProcess, grpc_api: Api) -> None:
    package, channel = "/xds_server.management.v1", grpc_api.channel
    one = channel.unary_unary(f"{package}.UpstreamService/Get")
    many = channel.stream_unary(f"{package}.TargetService/UpdateTargets")
    for refusal in (refused(lambda: one(b"\xff\xff")), refused(lambda: many(iter([b"\xff\xff"])))):
        assert refusal == Refusal("INVALID_ARGUMENT", "this is no message of the type that this call takes")
    unknown = channel.unary_unary(f"{package}.UpstreamService/Burn")
    assert refused(lambda: unknown(b"")).code == "UNIMPLEMENTED"
    assert "Traceback" not in server.log


def test_the_address_of_a_client_is_told_without_its_port() -> None:
    assert client_address("ipv4:127.0.0.1:5000") == "127.0.0.1"
    assert client_address("ipv6:%5B::1%5D:5000") == "::1"
    assert client_address("unix:/x") == ""
