"""Optimistic locking over gRPC: who read something old is told so before anything else, and no update is lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from management_grpc import TARGET, Api, attempt, refused

from xds_server.management.v1 import definitions_pb2, targets_pb2
from xds_server.testing import XdsServerProcess


def put(api: Api, name: str, text: str, expected: int | None) -> int:
    request = definitions_pb2.PutDefinitionRequest(name=name, json=text, expected_revision=expected)
    return int(api.upstreams.Put(request).definition_revision)


def test_what_changed_meanwhile_is_refused_before_the_body_is_looked_at(grpc_api: Api) -> None:
    old = put(grpc_api, "locked", json.dumps({"targets": [TARGET]}), None)
    new = put(grpc_api, "locked", json.dumps({"targets": []}), old)
    patch = definitions_pb2.PatchDefinitionRequest(name="locked", json="{", expected_revision=old)
    delete = definitions_pb2.DeleteDefinitionRequest(name="locked", expected_revision=old)
    for call in (
        lambda: put(grpc_api, "locked", "{", old),
        lambda: grpc_api.upstreams.Patch(patch),
        lambda: grpc_api.upstreams.Delete(delete),
    ):
        refusal = refused(call)
        assert refusal.code == "ABORTED"
        assert refusal.message.startswith(f"upstream 'locked' was changed by revision {new}: read it again")
    delete.expected_revision = new
    assert grpc_api.upstreams.Delete(delete).changed


def test_only_what_is_there_or_is_not(grpc_api: Api) -> None:
    assert refused(lambda: put(grpc_api, "new", "{}", 1)).code == "ABORTED"
    made = put(grpc_api, "new", "{}", 0)
    assert refused(lambda: put(grpc_api, "new", "{}", 0)).code == "ABORTED"
    assert put(grpc_api, "new", json.dumps({"targets": [TARGET]}), made) > made


def test_targets_are_locked_too(grpc_api: Api) -> None:
    grpc_api.put("held", TARGET)
    read = grpc_api.target("held", "10.0.0.1:80")
    expected = targets_pb2.ExpectedRevisions(definition_revision=read.definition_revision)
    where = {"upstream": "held", "target": "10.0.0.1:80", "expected": expected}
    drain = targets_pb2.PatchTargetRequest(patch=targets_pb2.TargetPatch(state="draining"), **where)
    drained = grpc_api.targets.Patch(drain)
    for call in (
        lambda: grpc_api.targets.Patch(drain),
        lambda: grpc_api.targets.Put(targets_pb2.PutTargetRequest(json="{", **where)),
        lambda: grpc_api.targets.Delete(targets_pb2.DeleteTargetRequest(**where)),
    ):
        assert refused(call).code == "ABORTED"
    expected.override_revision = drained.override_revision
    assert grpc_api.targets.Delete(targets_pb2.DeleteTargetRequest(**{**where, "expected": expected})).changed


def test_concurrent_writers_never_lose_an_update(server: XdsServerProcess, grpc_api: Api) -> None:
    put(grpc_api, "counted", '{"labels": {"count": "0"}}', None)
    writers, each = 4, 20

    def count(_: int) -> int:
        refusals = done = 0
        with Api(server.grpc_address) as api:
            while done < each:
                read = api.get("counted")
                data = json.loads(read.json)
                data["labels"] = {"count": str(int(data["labels"]["count"]) + 1)}
                if (refusal := attempt(partial(put, api, "counted", json.dumps(data), read.revision))) is None:
                    done += 1
                else:
                    assert refusal.code == "ABORTED"
                    refusals += 1
        return refusals

    with ThreadPoolExecutor(writers) as pool:
        assert sum(pool.map(count, range(writers))) > 0, "they did meet"
    assert json.loads(grpc_api.get("counted").json)["labels"] == {"count": str(writers * each)}


def test_concurrent_operators_of_one_target_never_lose_an_update(server: XdsServerProcess, grpc_api: Api) -> None:
    grpc_api.put("weighed", {**TARGET, "weight": 1})
    writers, each = 4, 5

    def count(_: int) -> None:
        done = 0
        with Api(server.grpc_address) as api:
            while done < each:
                read = api.target("weighed", "10.0.0.1:80")
                request = targets_pb2.PatchTargetRequest(
                    upstream="weighed",
                    target="10.0.0.1:80",
                    patch=targets_pb2.TargetPatch(weight=read.weight + 1),
                    expected=targets_pb2.ExpectedRevisions(
                        definition_revision=read.definition_revision, override_revision=read.override_revision
                    ),
                )
                refusal = attempt(partial(api.targets.Patch, request))
                assert refusal is None or refusal.code == "ABORTED"
                done += refusal is None

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(count, range(writers)))
    assert grpc_api.target("weighed", "10.0.0.1:80").weight == 1 + writers * each
