"""Whole documents: one revision or nothing, looked at before, and gone back from."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from xds_server.testing import XdsServerProcess

TARGET = {"host": "10.0.0.1", "port": 80}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    """A control plane of its own, with one upstream in a file."""
    (tmp_path / "a.yaml").write_text("upstreams:\n  - {name: of-a-file, targets: []}\n")
    with XdsServerProcess(tmp_path) as server, httpx.Client(base_url=f"http://{server.http_address}") as api:
        yield api


def apply(api: httpx.Client, *upstreams: dict[str, Any], **query: Any) -> Any:
    answer = api.post("/v1/apply", json={"upstreams": upstreams}, params=query)
    assert answer.is_success, answer.text
    return answer.json()


def names(api: httpx.Client) -> list[str]:
    return [one["name"] for one in api.get("/v1/upstreams").json()["upstreams"]]


def test_all_of_a_document_or_nothing(api: httpx.Client) -> None:
    wrong = {"upstreams": [{"name": "a"}, {"name": "b", "targets": [{"host": "x y", "port": 1}]}, {"name": "a"}]}
    answer = api.post("/v1/apply", json=wrong)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/upstreams/1/targets/0/host",
        "/upstreams/2/name",
    }
    assert names(api) == ["of-a-file"]
    made = apply(api, {"name": "a"}, {"name": "b"}, message="two at once")
    assert len(made["changes"]) == 2
    newest = api.get("/v1/revisions").json()["revisions"][0]
    assert (newest["revision"], newest["message"], newest["author"]) == (made["revision"], "two at once", "local")
    assert names(api) == ["a", "b", "of-a-file"]


def test_nothing_is_taken_away_unless_asked_for(api: httpx.Client) -> None:
    apply(api, {"name": "a"}, {"name": "b"})
    apply(api, {"name": "b"})
    assert names(api) == ["a", "b", "of-a-file"]
    apply(api, {"name": "b"}, prune=True)
    assert names(api) == ["b", "of-a-file"], "and then nothing of what files define"


def test_a_dry_run_says_what_would_be_and_does_nothing(api: httpx.Client) -> None:
    apply(api, {"name": "a", "targets": [TARGET]}, {"name": "b", "algorithm": "random"})
    before = api.get("/v1/revisions").json()
    document = [
        {"name": "a", "targets": [{**TARGET, "labels": {"x": "y"}}]},
        {"name": "b", "algorithm": "maglev"},
        {"name": "c"},
    ]
    shown = {change["name"]: change for change in apply(api, *document, dry_run=True)["changes"]}
    assert {name: (one["action"], one["effect"]) for name, one in shown.items()} == {
        "a": ("changed", "endpoints"),
        "b": ("changed", "cluster rebuild"),
        "c": ("added", "added"),
    }
    assert shown["b"]["drops"] == ["connections"]
    assert {"-algorithm: random", "+algorithm: maglev"} < set(shown["b"]["diff"])
    assert api.get("/v1/revisions").json() == before


def test_a_dry_run_says_what_will_surprise_beside_other_definitions(api: httpx.Client) -> None:
    apply(api, {"name": "a", "targets": [TARGET], "health_checks": {"active": {"interval": "5s"}}})
    other = {"name": "b", "targets": [TARGET], "health_checks": {"active": {"interval": "6s"}}}
    (found,) = apply(api, other, dry_run=True)["warnings"]
    assert (found["upstream"], found["code"]) == ("b", "probed-differently")
    apply(api, other)
    assert apply(api, {**other, "description": "edited"}, dry_run=True)["warnings"] == [], "that was so before"


def test_a_dry_run_says_that_requests_would_fail_until_a_probe(api: httpx.Client) -> None:
    checked = {"name": "a", "health_checks": {"active": {}}}
    apply(api, {**checked, "targets": [TARGET]})
    drained = {**checked, "targets": [{**TARGET, "state": "draining"}, {**TARGET, "port": 81}]}
    (shown,) = apply(api, drained, dry_run=True)["changes"]
    assert shown["drops"] == ["requests while no new target has passed its first probe"]
    (shown,) = apply(api, {**drained, "on_all_unhealthy": "send-all"}, dry_run=True)["changes"]
    assert shown["drops"] == ["connections", "probe results"]


def test_what_a_file_defines_is_the_files(api: httpx.Client, tmp_path: Path) -> None:
    for answer in (
        api.put("/v1/upstreams/of-a-file", json={}),
        api.patch("/v1/upstreams/of-a-file", json={}),
        api.delete("/v1/upstreams/of-a-file"),
        api.post("/v1/apply", json={"upstreams": [{"name": "of-a-file"}]}),
    ):
        assert answer.status_code == 409
        assert f"'of-a-file' is defined in {tmp_path / 'a.yaml'}" in answer.json()["detail"]


def test_back_to_what_was(api: httpx.Client, tmp_path: Path) -> None:
    good = apply(api, {"name": "a", "targets": [TARGET]})["revision"]
    resources = api.get("/v1/upstreams/a/envoy").content
    apply(api, {"name": "a"}, {"name": "b"})
    api.put("/v1/upstreams/a/targets/10.0.0.1:80", json={})
    api.patch("/v1/upstreams/a/targets/10.0.0.1:80", json={"weight": 0})
    back = api.post(f"/v1/revisions/{good}/rollback", params={"message": "b was wrong"})
    assert back.status_code == 200
    assert names(api) == ["a", "of-a-file"]
    assert api.get("/v1/upstreams/a/targets/10.0.0.1:80").json()["weight"] == 0, "overrides stay"
    assert api.post(f"/v1/revisions/{good}/rollback?with_overrides=true").status_code == 200
    assert api.get("/v1/upstreams/a/envoy").content == resources
    newest = api.get(f"/v1/revisions/{back.json()['revision']}").json()
    assert (newest["refers_to"], newest["message"]) == (good, "b was wrong")
    (tmp_path / "a.yaml").write_text("upstreams:\n  - {name: of-a-file, algorithm: maglev, targets: []}\n")
    _until(api, "maglev")
    refused = api.post(f"/v1/revisions/{good}/rollback")
    assert refused.status_code == 409
    assert str(tmp_path / "a.yaml") in refused.json()["detail"]
    missing = api.post("/v1/revisions/999/rollback")
    assert (missing.status_code, "there is no revision '999': those from 1 to" in missing.text) == (404, True)


def test_what_revisions_changed(api: httpx.Client) -> None:
    first = apply(api, {"name": "a"})["revision"]
    second = apply(api, {"name": "a", "algorithm": "random"}, {"name": "b"})["revision"]
    changed = {one["name"]: one for one in api.get(f"/v1/revisions/{second}/diff").json()["changes"]}
    assert changed["a"]["diff"] == [" name: a", "+algorithm: random"]
    assert changed["b"]["action"] == "added"
    between = api.get(f"/v1/revisions/{second}/diff", params={"to": first}).json()["changes"]
    assert [(one["name"], one["action"]) for one in between] == [("a", "changed"), ("b", "removed")]
    page = api.get("/v1/revisions", params={"limit": 1}).json()
    assert (page["revisions"][0]["revision"], page["next"]) == (second, second)
    older = api.get("/v1/revisions", params={"limit": 1, "before": page["next"]}).json()
    assert older["revisions"][0]["revision"] == first


def _until(api: httpx.Client, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in api.get("/v1/upstreams").text:
        assert time.monotonic() < deadline, f"no {text}"
        time.sleep(0.05)
