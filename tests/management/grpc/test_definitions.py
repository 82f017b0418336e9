"""Upstreams and gateways over gRPC: every call, exact numbers, pages, and the same as HTTP shows."""

import json
from typing import Any

import httpx
from google.protobuf.json_format import MessageToDict
from management_grpc import TARGET, Api, refused

from xds_server.management.v1 import definitions_pb2 as pb


def names(api: Api, **request: Any) -> tuple[list[str], str]:
    answer = api.upstreams.List(pb.ListDefinitionsRequest(**request))
    return [each.name for each in answer.definitions], answer.next_page_token


def test_a_definition_comes_back_as_it_was_written(grpc_api: Api, api: httpx.Client) -> None:
    made = grpc_api.put("written", TARGET, connect_timeout="250ms", message="why")
    assert (made.changed, made.state, made.definition_revision) == (True, "applied", made.revision)
    assert [(each.kind, each.name, each.action) for each in made.changes] == [("upstream", "written", "added")]
    shown = grpc_api.get("written")
    assert json.loads(shown.json) == {"name": "written", "targets": [TARGET], "connect_timeout": "250ms"}
    assert json.loads(shown.json) == api.get("/v1/upstreams/written").json()
    assert (shown.name, shown.revision, shown.origin) == ("written", made.revision, "api")
    (newest, *_) = api.get("/v1/revisions").json()["revisions"]
    assert (newest["message"], newest["author"], newest["client"]) == ("why", "local", "127.0.0.1")
    again = grpc_api.upstreams.Put(pb.PutDefinitionRequest(name="written", json=shown.json))
    assert (again.changed, again.state, again.definition_revision) == (False, "unchanged", made.revision)


def test_numbers_stay_what_they_are(grpc_api: Api) -> None:
    grpc_api.put("exact", {**TARGET, "weight": 1_000_000}, envoy={"per_connection_buffer_limit_bytes": 4294967295})
    text = grpc_api.get("exact").json
    assert '"per_connection_buffer_limit_bytes":4294967295}' in text
    assert '"weight":1000000}' in text
    refusal = refused(lambda: grpc_api.put("exact", {**TARGET, "weight": 1.0}))
    assert refusal.fields.keys() == {"targets[0].weight"}, "as in a file"


def test_a_patch_lies_over_it_and_a_delete_takes_it_away(grpc_api: Api) -> None:
    grpc_api.put("patched", TARGET, connect_timeout="1s", labels={"team": "a"})
    text = json.dumps({"connect_timeout": None, "timeout": "3s"})
    grpc_api.upstreams.Patch(pb.PatchDefinitionRequest(name="patched", json=text))
    shown = json.loads(grpc_api.get("patched").json)
    assert shown == {"name": "patched", "targets": [TARGET], "timeout": "3s", "labels": {"team": "a"}}
    gone = grpc_api.upstreams.Delete(pb.DeleteDefinitionRequest(name="patched", message="no more"))
    assert [(each.name, each.action) for each in gone.changes] == [("patched", "removed")]
    assert gone.definition_revision == 0
    assert refused(lambda: grpc_api.get("patched")).code == "NOT_FOUND"


def test_what_will_surprise_is_said(grpc_api: Api, api: httpx.Client) -> None:
    disabled = {**TARGET, "state": "disabled"}
    (warned,) = api.put("/v1/upstreams/warned", json={"targets": [disabled]}).json()["warnings"]
    grpc_api.upstreams.Delete(pb.DeleteDefinitionRequest(name="warned"))
    (warning,) = grpc_api.put("warned", disabled).warnings
    assert MessageToDict(warning) == warned
    assert warning.code == "no-enabled-target"


def test_lists_come_in_pages(grpc_api: Api) -> None:
    for number in range(5):
        grpc_api.put(f"page-{number}", labels={"page": "yes", "odd": str(number % 2)})
    first, token = names(grpc_api, page_size=2, labels={"page": "yes"})
    assert (first, token) == (["page-0", "page-1"], "page-1")
    assert names(grpc_api, page_size=2, page_token=token, labels={"page": "yes"}) == (["page-2", "page-3"], "page-3")
    assert names(grpc_api, page_token="page-3", labels={"page": "yes"}) == (["page-4"], "")
    assert names(grpc_api, labels={"page": "yes", "odd": "1"}) == (["page-1", "page-3"], "")
    assert refused(lambda: names(grpc_api, page_size=1001)).fields.keys() == {"page_size"}
    assert refused(lambda: names(grpc_api, page_size=-1)).code == "INVALID_ARGUMENT"


def test_a_page_ends_before_it_is_too_long_for_a_client(grpc_api: Api) -> None:
    targets = [{"host": f"10.1.{n // 250}.{n % 250}", "port": 80, "description": "x" * 1000} for n in range(1200)]
    for name in ("long-a", "long-b", "long-c"):
        grpc_api.put(name, *targets, labels={"long": "yes"})
    seen, token = [], ""
    while True:
        page, token = names(grpc_api, labels={"long": "yes"}, page_token=token)
        assert len(page) == 1, "1.3 MB each: two are more than 2 MiB"
        seen += page
        if not token:
            break
    assert seen == ["long-a", "long-b", "long-c"]


def test_what_operators_laid_over_targets_is_shown(grpc_api: Api) -> None:
    grpc_api.put("laid", TARGET)
    grpc_api.patch("laid", "10.0.0.1:80", state="draining", drain_until="2100-01-01T00:00:00Z")
    (over,) = grpc_api.get("laid").overrides.items()
    assert over[0] == "10.0.0.1:80"
    assert MessageToDict(over[1]) == {"state": "draining", "drainUntil": "2100-01-01T00:00:00Z"}


def test_gateways_are_as_upstreams_are(grpc_api: Api, api: httpx.Client) -> None:
    text = json.dumps({"address": "127.0.0.1", "port": 10000})
    grpc_api.gateways.Put(pb.PutDefinitionRequest(name="public", json=text))
    grpc_api.gateways.Patch(pb.PatchDefinitionRequest(name="public", json='{"port": 10001}'))
    shown = grpc_api.gateways.Get(pb.GetDefinitionRequest(name="public"))
    assert json.loads(shown.json) == {"name": "public", "address": "127.0.0.1", "port": 10001}
    assert json.loads(shown.json) == api.get("/v1/gateways/public").json()
    (listed,) = grpc_api.gateways.List(pb.ListDefinitionsRequest()).definitions
    assert listed == shown
    refusal = refused(lambda: grpc_api.gateways.List(pb.ListDefinitionsRequest(labels={"a": "b"})))
    assert refusal.fields == {"labels": "a gateway has no labels"}
    grpc_api.gateways.Delete(pb.DeleteDefinitionRequest(name="public"))
    assert not grpc_api.gateways.List(pb.ListDefinitionsRequest()).definitions
