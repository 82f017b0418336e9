"""Documents in, history out, over gRPC."""

import json

import httpx
from google.protobuf.json_format import MessageToDict
from management_grpc import TARGET, Api, refused

from xds_server.management.v1 import revisions_pb2 as pb
from xds_server.testing import XdsServerProcess


def shown(message: object) -> dict[str, object]:
    """A message as plain data with the names of HTTP, whose numbers are numbers."""
    return dict(MessageToDict(message, preserving_proto_field_name=True))  # type: ignore[type-var]


def test_a_document_is_applied_as_one_revision(grpc_api: Api, api: httpx.Client) -> None:
    answer = grpc_api.apply({"name": "doc-a"}, {"name": "doc-b", "targets": [TARGET]}, message="both")
    assert not answer.HasField("preview")
    assert [(each.name, each.action) for each in answer.result.changes] == [("doc-a", "added"), ("doc-b", "added")]
    revision = grpc_api.revisions.Get(pb.GetRevisionRequest(revision=answer.result.revision))
    assert (revision.message, revision.state, len(revision.changes)) == ("both", "applied", 2)
    http = api.get(f"/v1/revisions/{revision.revision}").json()
    delivery = http.pop("delivery")
    assert not http.pop("degraded")
    said = shown(revision)
    assert said.pop("delivery").items() <= delivery.items()  # type: ignore[attr-defined]
    assert {**said, "revision": revision.revision} == http


def test_a_dry_run_warns_of_what_is_beside_it(grpc_api: Api) -> None:
    one, other = ({"active": {"interval": every}} for every in ("5s", "6s"))
    grpc_api.put("beside-a", TARGET, health_checks=one)
    preview = grpc_api.apply({"name": "beside-b", "targets": [TARGET], "health_checks": other}, dry_run=True).preview
    assert [(each.upstream, each.code) for each in preview.warnings] == [("beside-b", "probed-differently")]


def test_a_dry_run_only_says_what_would_be(grpc_api: Api, api: httpx.Client) -> None:
    grpc_api.put("dry", TARGET)
    document = {"upstreams": [{"name": "dry", "targets": [{**TARGET, "state": "disabled"}]}]}
    answer = grpc_api.apply(*document["upstreams"], dry_run=True)
    assert not answer.HasField("result")
    http = api.post("/v1/apply", params={"dry_run": "true"}, json=document).json()
    (change,) = http["changes"]
    (preview,) = answer.preview.changes
    assert shown(preview.warnings[0]) == change["warnings"][0]
    assert ([*preview.diff], preview.effect) == (change["diff"], change["effect"])
    assert (preview.kind, preview.name, preview.action) == ("upstream", "dry", "changed")
    assert preview.nodes.count == change["nodes"]["count"] == 0
    assert json.loads(grpc_api.get("dry").json)["targets"] == [TARGET], "and it did nothing"


def test_history_is_shown_compared_and_gone_back_to(grpc_api: Api) -> None:
    first = grpc_api.put("past", TARGET).revision
    second = grpc_api.put("past").revision
    changed = grpc_api.revisions.Diff(pb.DiffRequest(revision=second)).changes
    back = grpc_api.revisions.Diff(pb.DiffRequest(revision=second, to=first)).changes
    assert [each.name for each in changed] == [each.name for each in back] == ["past"]
    assert any(line.startswith("-") and "10.0.0.1" in line for line in changed[0].diff)
    assert any(line.startswith("+") and "10.0.0.1" in line for line in back[0].diff)
    undone = grpc_api.revisions.Rollback(pb.RollbackRequest(revision=first, message="undo", wait=100)).result
    assert json.loads(grpc_api.get("past").json)["targets"] == [TARGET]
    revision = grpc_api.revisions.Get(pb.GetRevisionRequest(revision=undone.revision))
    assert (revision.refers_to, revision.message) == (first, "undo")


def test_lists_come_in_pages_from_the_newest_back(grpc_api: Api) -> None:
    made = [grpc_api.put("listed", labels={"n": str(n)}).revision for n in range(5)]
    first = grpc_api.revisions.List(pb.ListRevisionsRequest(page_size=3))
    assert [each.revision for each in first.revisions] == made[:1:-1]
    rest = grpc_api.revisions.List(pb.ListRevisionsRequest(page_token=first.next_page_token))
    assert [each.revision for each in rest.revisions][:2] == [made[1], made[0]]
    assert rest.next_page_token == ""


def test_what_takes_very_much_away_waits_to_be_confirmed() -> None:
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        api.apply(*({"name": f"u{number}"} for number in range(12)))
        held = api.apply({"name": "u0"}, prune=True, wait=100).result
        assert (held.state, held.changed) == ("held", False)
        assert f"xds-server confirm {held.revision}" in held.note
        assert api.get("u1").name == "u1"
        confirmed = api.revisions.Confirm(pb.ConfirmRequest(revision=held.revision, message="I mean it"))
        assert (confirmed.state, confirmed.changed) == ("applied", True)
        assert refused(lambda: api.get("u1")).code == "NOT_FOUND"
        again = refused(lambda: api.revisions.Confirm(pb.ConfirmRequest(revision=held.revision)))
        assert again.code == "FAILED_PRECONDITION"
        assert again.message.endswith("it is released")


def test_a_document_of_thousands(grpc_api: Api) -> None:
    many = [{"name": f"mass-{number:05}", "targets": [TARGET], "labels": {"mass": "yes"}} for number in range(2_000)]
    answer = grpc_api.apply(*many)
    assert len(answer.result.changes) == 2_000
    page = grpc_api.revisions.List(pb.ListRevisionsRequest(page_size=1))
    assert page.revisions[0].revision == answer.result.revision
    assert not page.revisions[0].changes
