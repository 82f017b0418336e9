"""Definitions over HTTP: read as they were written, replaced, patched and deleted, with a reason for whatever cannot be."""

from typing import Any

import httpx
import pytest

TARGET = {"host": "10.0.0.1", "port": 80}


def put(api: httpx.Client, name: str, **definition: Any) -> dict[str, Any]:
    answer = api.put(f"/v1/upstreams/{name}", json={"targets": [TARGET], **definition})
    assert answer.is_success, answer.text
    return dict(answer.json())


def pointers(answer: httpx.Response) -> set[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["pointer"] for error in answer.json()["errors"]}


def test_a_definition_is_read_as_it_was_written(api: httpx.Client) -> None:
    written = {"name": "written", "targets": [TARGET], "connect_timeout": "1s", "labels": {"team": "a"}}
    answer = api.put("/v1/upstreams/written", json=written)
    assert answer.status_code == 201
    there = api.get("/v1/upstreams/written")
    assert there.json() == written
    assert there.headers["etag"] == answer.headers["etag"] == f'"{answer.json()["revision"]}"'
    assert api.put("/v1/upstreams/written", json=there.json()).json()["state"] == "unchanged"


def test_writing_the_same_twice_makes_one_revision(api: httpx.Client) -> None:
    first = put(api, "twice")
    again = put(api, "twice")
    assert (first["state"], first["changed"]) == ("applied", True)
    assert (again["state"], again["changed"], again["revision"]) == ("unchanged", False, first["revision"])


def test_a_patch_changes_what_it_names_and_null_takes_away(api: httpx.Client) -> None:
    put(api, "patched", connect_timeout="1s", labels={"a": "1", "b": "2"})
    answer = api.patch("/v1/upstreams/patched", json={"connect_timeout": None, "labels": {"b": None, "c": "3"}})
    assert answer.status_code == 200
    assert api.get("/v1/upstreams/patched").json() == {
        "name": "patched",
        "targets": [TARGET],
        "labels": {"a": "1", "c": "3"},
    }
    assert api.patch("/v1/upstreams/nobody", json={}).status_code == 404


def test_what_was_deleted_is_gone(api: httpx.Client) -> None:
    put(api, "short-lived")
    assert api.delete("/v1/upstreams/short-lived").json()["changes"] == [
        {"kind": "upstream", "name": "short-lived", "action": "removed"}
    ]
    missing = api.get("/v1/upstreams/short-lived")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "there is no upstream 'short-lived'"
    assert api.delete("/v1/upstreams/short-lived").status_code == 404


def test_every_mistake_is_told_with_its_place_and_nothing_changes(api: httpx.Client) -> None:
    before = put(api, "kept")["revision"]
    wrong = {"targets": [{"host": "10.0.0.1", "port": 70000}], "algoritm": "random", "connect_timeout": 5}
    answer = api.put("/v1/upstreams/kept", json=wrong)
    assert answer.status_code == 422
    assert pointers(answer) == {"/targets/0/port", "/algoritm", "/connect_timeout"}
    assert "did you mean 'algorithm'?" in answer.text
    refused = api.put("/v1/upstreams/kept", json={"envoy": {"no_such_field": 1}})
    assert pointers(refused) == {"/envoy/no_such_field"}
    assert api.get("/v1/revisions").json()["revisions"][0]["revision"] == before


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b'{"targets": [], "targets": []}', 400, "'targets' is written twice"),
        (b'{"targets": NaN}', 400, "NaN is not JSON"),
        (b'"\xff"', 400, "not UTF-8"),
        (b"[" * 100_000, 400, "too many levels"),
        (b"[]", 422, "expected fields"),
        (b'{"name": "another"}', 422, "the address says 'bodies'"),
        (b'{"targets": null}', 422, "nothing is written here"),
        (b" " * (4 * 1024 * 1024 + 1), 413, "at most 4 MiB"),
    ],
    ids=["half", "twice", "nan", "latin", "deep", "list", "other-name", "null", "large"],
)
def test_bodies_that_cannot_be_read(api: httpx.Client, body: bytes, status: int, said: str) -> None:
    answer = api.put("/v1/upstreams/bodies", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert api.get("/v1/upstreams/bodies").status_code == 404


def test_other_types_of_bodies_are_refused(api: httpx.Client) -> None:
    answer = api.put("/v1/upstreams/typed", content=b"a: 1", headers={"content-type": "application/yaml"})
    assert (answer.status_code, answer.json()["detail"]) == (415, "a body is application/json, not application/yaml")


def test_a_host_name_has_one_upstream(api: httpx.Client) -> None:
    put(api, "first-claim", hostnames=["claimed.example"])
    answer = api.put("/v1/upstreams/second-claim", json={"targets": [TARGET], "hostnames": ["CLAIMED.example"]})
    assert answer.status_code == 422
    assert pointers(answer) == {"/hostnames"}
    assert "'claimed.example' is also answered by upstream 'first-claim'" in answer.text


def test_an_upstream_that_a_gateway_needs_stays(api: httpx.Client) -> None:
    put(api, "needed", protocol="tcp")
    assert api.put("/v1/gateways/needing", json={"port": 15432, "upstream": "needed"}).status_code == 201
    refused = api.delete("/v1/upstreams/needed")
    assert refused.status_code == 409
    assert "upstream 'needed' is still needed: gateway 'needing' of the API forwards to it" in refused.json()["detail"]
    assert "errors" not in refused.json()
    assert api.get("/v1/gateways/needing").json() == {"name": "needing", "port": 15432, "upstream": "needed"}
    assert api.delete("/v1/gateways/needing").status_code == 200
    assert api.delete("/v1/upstreams/needed").status_code == 200


def test_pages_and_labels(api: httpx.Client) -> None:
    for index in range(5):
        put(api, f"page-{index}", labels={"page": "yes", "odd": str(index % 2)})
    first = api.get("/v1/upstreams", params={"label": "page=yes", "limit": 2}).json()
    assert [one["name"] for one in first["upstreams"]] == ["page-0", "page-1"]
    rest = api.get("/v1/upstreams", params={"label": "page=yes", "after": first["next"]}).json()
    assert ([one["name"] for one in rest["upstreams"]], rest["next"]) == (["page-2", "page-3", "page-4"], None)
    both = api.get("/v1/upstreams", params={"label": ["page=yes", "odd=1"]}).json()
    assert [one["name"] for one in both["upstreams"]] == ["page-1", "page-3"]
    assert both["about"]["page-1"]["origin"] == "api"
    assert api.get("/v1/upstreams", params={"label": "page"}).status_code == 422


def test_what_an_upstream_becomes_is_the_same_bytes_each_time(api: httpx.Client) -> None:
    put(api, "becomes", labels={"a": "b"})
    shown = api.get("/v1/upstreams/becomes/envoy")
    types = [one["@type"].rpartition(".")[2] for one in shown.json()["resources"]]
    assert types == ["Cluster", "ClusterLoadAssignment", "VirtualHost"]
    put(api, "becomes", labels={"a": "c"})
    put(api, "becomes", labels={"a": "b"})
    assert api.get("/v1/upstreams/becomes/envoy").content == shown.content
    assert api.get("/v1/upstreams/becomes/envoy", params={"node": "nobody"}).status_code == 404


def test_what_will_surprise_is_told_with_the_answer(api: httpx.Client) -> None:
    made = put(api, "surprising", targets=[TARGET, {"host": "10.0.0.2", "port": 80, "priority": 1}])
    assert [warning["code"] for warning in made["warnings"]] == ["failover-without-checks"]
    assert made["warnings"][0]["fix"]
