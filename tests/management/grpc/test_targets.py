"""Targets over gRPC: as they are served, overrides of operators, and the definition below."""

import json

import httpx
from google.protobuf.json_format import MessageToDict
from management_grpc import TARGET, Api, refused

from xds_server.management.v1 import targets_pb2 as pb

NAME = "10.0.0.1:80"


def test_a_target_is_shown_as_it_is_served(grpc_api: Api, api: httpx.Client) -> None:
    made = grpc_api.put("shown", {**TARGET, "labels": {"role": "spare"}})
    over = grpc_api.patch("shown", NAME, state="draining", expires="2100-01-01T00:00:00Z")
    assert (over.definition_revision, over.override_revision) == (made.revision, over.revision)
    shown = grpc_api.target("shown", NAME)
    assert (shown.upstream, shown.target, shown.state, shown.weight) == ("shown", NAME, "draining", 1)
    assert (shown.definition_revision, shown.override_revision) == (made.revision, over.revision)
    assert MessageToDict(shown.override) == {"state": "draining", "expires": "2100-01-01T00:00:00Z"}
    http = api.get(f"/v1/upstreams/shown/targets/{NAME}").json()
    assert {"target": NAME, "override": http["override"], **json.loads(shown.json)} == http


def test_a_patch_leaves_the_rest_and_takes_away_what_it_clears(grpc_api: Api) -> None:
    grpc_api.put("cleared", TARGET)
    grpc_api.patch("cleared", NAME, state="disabled", weight=0)
    grpc_api.patch("cleared", NAME, clear=["state"])
    shown = grpc_api.target("cleared", NAME)
    assert (shown.state, shown.weight, MessageToDict(shown.override)) == ("enabled", 0, {"weight": "0"})
    gone = grpc_api.patch("cleared", NAME, clear=["weight"])
    assert gone.override_revision == 0
    assert not grpc_api.target("cleared", NAME).HasField("override")


def test_put_and_delete_edit_the_definition(grpc_api: Api) -> None:
    grpc_api.put("edited", TARGET)
    second = pb.PutTargetRequest(upstream="edited", target="10.0.0.2:80", json='{"priority": 1}', message="more")
    grpc_api.targets.Put(second)
    assert json.loads(grpc_api.get("edited").json)["targets"] == [
        TARGET,
        {"host": "10.0.0.2", "port": 80, "priority": 1},
    ]
    grpc_api.targets.Delete(pb.DeleteTargetRequest(upstream="edited", target=NAME))
    assert [each["host"] for each in json.loads(grpc_api.get("edited").json)["targets"]] == ["10.0.0.2"]
    assert refused(lambda: grpc_api.target("edited", NAME)).code == "NOT_FOUND"


def test_lists_come_in_pages(grpc_api: Api) -> None:
    grpc_api.put("many", *({"host": f"10.0.0.{number}", "port": 80} for number in range(1, 6)))
    seen, token = [], ""
    for left in (3, 1):
        page = grpc_api.targets.List(pb.ListTargetsRequest(upstream="many", page_size=2, page_token=token))
        token = page.next_page_token
        seen += [each.target for each in page.targets]
        assert len(seen) == 5 - left
    page = grpc_api.targets.List(pb.ListTargetsRequest(upstream="many", page_token=token))
    assert [*seen, *(each.target for each in page.targets)] == [f"10.0.0.{number}:80" for number in range(1, 6)]
    assert page.next_page_token == ""
    assert page.targets[0] == grpc_api.target("many", "10.0.0.5:80")
