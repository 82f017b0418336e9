"""Lists over HTTP: pages, what they are limited to, and what is told of overrides and of places in a document."""

from typing import Any

import httpx


def put(api: httpx.Client, name: str, *ports: int, **more: Any) -> None:
    targets = [{"host": "10.0.0.1", "port": port} for port in ports]
    assert api.put(f"/v1/upstreams/{name}", json={"targets": targets, **more}).is_success


def names(api: httpx.Client, **query: Any) -> list[str]:
    return [one["name"] for one in api.get("/v1/upstreams", params=query).json()["upstreams"]]


def test_names_that_begin_so(api: httpx.Client) -> None:
    for name in ("begin-a", "begin-b", "begin", "beg.in"):
        put(api, name)
    assert names(api, prefix="begin") == ["begin", "begin-a", "begin-b"]
    assert names(api, prefix="begin", limit=1) == ["begin"], "the whole of it comes first"
    assert names(api, prefix="begin", after="begin-a") == ["begin-b"]
    assert names(api, prefix="begin-c") == []
    assert api.put("/v1/gateways/begin-g", json={"port": 10000}).is_success
    assert [one["name"] for one in api.get("/v1/gateways?prefix=begin").json()["gateways"]] == ["begin-g"]


def test_targets_of_many_upstreams(api: httpx.Client) -> None:
    put(api, "all-a", 80, 81, labels={"all": "1"})
    put(api, "all-b", labels={"all": "1"})
    put(api, "all-c", 82, labels={"all": "2"})
    page = api.get("/v1/targets", params={"prefix": "all-"}).json()
    assert [(one["upstream"], one["target"]) for one in page["targets"]] == [
        ("all-a", "10.0.0.1:80"),
        ("all-a", "10.0.0.1:81"),
        ("all-c", "10.0.0.1:82"),
    ]
    assert page["next"] is None
    first = api.get("/v1/targets", params={"prefix": "all-", "limit": 2}).json()
    assert (len(first["targets"]), first["next"]) == (2, "all-b")
    second = api.get("/v1/targets", params={"prefix": "all-", "limit": 2, "after": "all-b"}).json()
    assert [one["upstream"] for one in second["targets"]] == ["all-c"]
    labelled = api.get("/v1/targets", params={"label": "all=1"}).json()["targets"]
    assert {one["upstream"] for one in labelled} == {"all-a"}
    assert api.get("/v1/targets", params={"label": "all"}).status_code == 422


def test_which_revision_laid_something_over_a_target(api: httpx.Client) -> None:
    put(api, "over", 80, 81)
    made = api.patch("/v1/upstreams/over/targets/10.0.0.1:80", json={"state": "draining"}).json()
    targets = api.get("/v1/upstreams/over/targets").json()["targets"]
    assert [one.get("overridden_by") for one in targets] == [made["revision"], None]
    assert api.get("/v1/upstreams/over/targets/10.0.0.1:80").json() == targets[0]


def test_what_clashes_is_shown_in_the_document(api: httpx.Client) -> None:
    put(api, "clash", hostnames=["clash.example"])
    mine = [{"name": "fine"}, {"name": "clash-b", "hostnames": ["clash.example"]}]
    gateways = [{"name": "clash-g", "port": 10001, "upstream": "clash-nobody"}]
    for query in ({}, {"dry_run": "true"}):
        answer = api.post("/v1/apply", json={"upstreams": mine, "gateways": gateways}, params=query)
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json()["errors"]} == {
            "/upstreams/1/hostnames",
            "/gateways/0/upstream",
        }
    assert api.put("/v1/upstreams/clash-served", json={}).is_success
    assert api.put("/v1/gateways/clash-g", json={"port": 10002, "upstream": "clash-served"}).is_success
    answer = api.delete("/v1/upstreams/clash-served")
    assert answer.status_code == 409
    assert "clash-g" in answer.json()["detail"], "what is in no document is named"
