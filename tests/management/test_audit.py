"""Who did what, from where: of every write, over HTTP and gRPC, and of everybody who was not let in."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from management_grpc import Api, attempt
from tokens import token

from xds_server.management.v1 import definitions_pb2, revisions_pb2, targets_pb2
from xds_server.testing import XdsServerProcess

TARGET = {"host": "10.0.0.1", "port": 80}
KEY = "10.0.0.1:80"


@pytest.fixture(scope="module")
def secret(server: XdsServerProcess) -> Iterator[str]:
    """A token of an auditor's interest."""
    yield token(server, "create", "ada", "--role", "write")
    token(server, "revoke", "ada")


@pytest.fixture(scope="module")
def ada(server: XdsServerProcess, secret: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://{server.http_address}", headers={"Authorization": f"Bearer {secret}"}, timeout=30
    ) as api:
        yield api


def newest(api: httpx.Client) -> tuple[int, str, str, str]:
    found = api.get("/v1/revisions?limit=1").json()["revisions"]
    one = found[0] if found else dict.fromkeys(("author", "client", "message"), "") | {"revision": 0}
    return one["revision"], one["author"], one["client"], one["message"]


def test_every_write_over_http_says_who_and_from_where(ada: httpx.Client) -> None:
    name = "/v1/upstreams/audited"
    gateway = {"port": 10000}
    writes: list[tuple[str, str, Any]] = [
        ("PUT", name, {"targets": [TARGET]}),
        ("PATCH", name, {"description": "x"}),
        ("PATCH", f"{name}/targets/{KEY}", {"state": "draining"}),
        ("PUT", f"{name}/targets/10.0.0.2:80", {}),
        ("DELETE", f"{name}/targets/10.0.0.2:80", None),
        ("PUT", "/v1/gateways/audited", gateway),
        ("PATCH", "/v1/gateways/audited", {"port": 10001}),
        ("DELETE", "/v1/gateways/audited", None),
        ("POST", "/v1/apply", {"upstreams": [{"name": "audited-too"}]}),
        ("POST", "/v1/revisions/{back}/rollback", None),
        ("DELETE", name, None),
    ]
    operations = ada.get("/openapi.json").json()["paths"].items()
    documented = {
        (method.upper(), path) for path, methods in operations for method in methods if method not in ("get", "head")
    }
    assert len(documented) == len(writes) + 1, "and confirm, which is below"
    for method, path, body in writes:
        before = newest(ada)[0]
        message = f"{method} {path}"
        where = path.format(back=before - 1)
        answer = ada.request(method, where, params={"message": message}, **({"json": body} if body is not None else {}))
        assert answer.is_success, answer.text
        assert newest(ada) == (before + 1, "ada", "127.0.0.1", message)


def test_what_is_confirmed_says_who_confirmed_it(ada: httpx.Client) -> None:
    many = [{"host": f"10.1.0.{number}", "port": 80} for number in range(40)]
    ada.put("/v1/upstreams/audited-many", json={"targets": many}).raise_for_status()
    held = ada.delete("/v1/upstreams/audited-many", params={"message": "gone"})
    assert held.status_code == 202
    number = held.json()["revision"]
    assert newest(ada) == (number, "ada", "127.0.0.1", "gone")
    ada.post(f"/v1/revisions/{number}/confirm", params={"message": "sure"}).raise_for_status()
    assert newest(ada) == (number + 1, "ada", "127.0.0.1", "sure")


def test_every_write_over_grpc_says_so_too(server: XdsServerProcess, ada: httpx.Client, secret: str) -> None:
    with Api(server.grpc_address, token=secret) as api:
        patch = definitions_pb2.PatchDefinitionRequest(name="audited-g", json='{"description": "x"}', message="patch")
        put_target = targets_pb2.PutTargetRequest(
            upstream="audited-g", target="10.0.0.2:80", json="{}", message="put t"
        )
        no_target = targets_pb2.DeleteTargetRequest(upstream="audited-g", target="10.0.0.2:80", message="delete t")
        lay = targets_pb2.PatchTargetRequest(
            upstream="audited-g", target=KEY, patch={"state": "draining"}, message="patch t"
        )
        update = targets_pb2.UpdateTargetsRequest(upstream="audited-g", target=KEY, patch={"weight": 0}, message="many")
        delete = definitions_pb2.DeleteDefinitionRequest(name="audited-g", message="delete")
        gateway = definitions_pb2.PutDefinitionRequest(name="audited-g", json='{"port": 10002}', message="gateway")
        writes = [
            ("put", lambda: api.put("audited-g", TARGET, algorithm="weighted-round-robin", message="put")),
            ("patch", lambda: api.upstreams.Patch(patch)),
            ("put t", lambda: api.targets.Put(put_target)),
            ("delete t", lambda: api.targets.Delete(no_target)),
            ("patch t", lambda: api.targets.Patch(lay)),
            ("many", lambda: api.targets.UpdateTargets(iter([update]))),
            ("gateway", lambda: api.gateways.Put(gateway)),
            ("apply", lambda: api.apply({"name": "audited-h"}, message="apply")),
            (
                "back",
                lambda: api.revisions.Rollback(
                    revisions_pb2.RollbackRequest(revision=newest(ada)[0] - 1, message="back")
                ),
            ),
            ("delete", lambda: api.upstreams.Delete(delete)),
        ]
        for message, write in writes:
            before = newest(ada)[0]
            write()
            assert newest(ada) == (before + 1, "ada", "127.0.0.1", message)


def test_who_is_not_let_in_is_in_the_log_without_what_they_sent(server: XdsServerProcess, secret: str) -> None:
    reads = token(server, "create", "looks-only", "--role", "read")
    unknown, password = "xds_" + "q" * 43 + "Lost1234", "hunter2-of-somebody"
    with httpx.Client(base_url=f"http://{server.http_address}") as api:
        api.put("/v1/upstreams/not-made", json={}, headers={"Authorization": f"Bearer {reads}"})
        api.get("/v1/nodes", headers={"Authorization": f"Bearer {unknown}"})
        api.get("/v1/nodes", headers={"Authorization": f"Basic {password}"})
        api.get("/v1/nodes", headers={"Authorization": f"Bearer {password}"})
    with Api(server.grpc_address, token=unknown) as grpc_api:
        assert attempt(lambda: grpc_api.get("x")) is not None

    def told() -> set[str]:
        return {event.get("action", "") for event in server.events("access.refused")}

    # What it logged comes a moment later than what it answered.
    server.wait_until(lambda: "UpstreamService/Get" in told(), 10, "the last refusal in the log")
    refused = [event for event in server.events("access.refused") if "action" in event]
    assert {event["client"] for event in refused} == {"127.0.0.1"}
    by_action = {event["action"]: event for event in reversed(refused)}
    forbidden = by_action["PUT /v1/upstreams/not-made"]
    assert forbidden["status"] == 403
    assert "'looks-only' has read" in forbidden["problem"]
    assert "(…Lost1234) is not known here" in by_action["GET /v1/nodes"]["problem"]
    assert by_action["UpstreamService/Get"]["status"] == 401
    for sent in (secret, reads, unknown, password):
        assert sent not in server.log
        assert sent[4:40] not in server.log
    token(server, "revoke", "looks-only")
