"""Targets over HTTP: what operators say lies over the definition, and what it says of itself is replaced."""

from typing import Any

import httpx
import pytest

A, B = {"host": "10.0.0.1", "port": 80}, {"host": "fd00::1", "port": 80}


@pytest.fixture
def upstream(api: httpx.Client, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:60].rstrip("-")
    answer = api.put(f"/v1/upstreams/{name}", json={"targets": [A, B], "algorithm": "weighted-round-robin"})
    assert answer.status_code == 201, answer.text
    return f"/v1/upstreams/{name}"


def state(api: httpx.Client, upstream: str, target: str = "10.0.0.1:80") -> dict[str, Any]:
    return dict(api.get(f"{upstream}/targets/{target}").json())


def test_what_operators_say_lies_over_the_definition(api: httpx.Client, upstream: str) -> None:
    definition = api.get(upstream).json()
    drained = api.patch(f"{upstream}/targets/10.0.0.1:80", json={"state": "draining", "weight": 7})
    assert drained.status_code == 200
    there = state(api, upstream)
    assert (there["state"], there["weight"], there["override"]) == (
        "draining",
        7,
        {"state": "draining", "weight": 7},
    )
    assert api.get(upstream).json() == definition, "which is left as it was written"
    definition["description"] = "edited"
    assert api.put(upstream, json=definition).status_code == 200
    assert state(api, upstream)["state"] == "draining", "and may be edited under it"
    endpoints = api.get(f"{upstream}/envoy").json()["resources"][1]["endpoints"]
    assert "DRAINING" in str(endpoints)
    assert api.patch(f"{upstream}/targets/10.0.0.1:80", json={"state": None}).status_code == 200
    assert state(api, upstream)["override"] == {"weight": 7}


def test_what_the_definition_says_already_leaves_nothing_behind(api: httpx.Client, upstream: str) -> None:
    address = f"{upstream}/targets/[fd00::1]:80"
    api.patch(address, json={"state": "disabled"})
    assert state(api, upstream, "[fd00::1]:80")["state"] == "disabled"
    api.patch(address, json={"state": "enabled"})
    assert "override" not in state(api, upstream, "[fd00::1]:80")
    again = api.patch(address, json={"state": "enabled"}).json()
    assert again["state"] == "unchanged"


def test_what_cannot_be_said_of_a_target(api: httpx.Client, upstream: str) -> None:
    address = f"{upstream}/targets/10.0.0.1:80"
    unknown = api.patch(f"{upstream}/targets/10.0.0.9:80", json={"state": "draining"})
    assert unknown.status_code == 404
    assert "there are: 10.0.0.1:80, [fd00::1]:80" in unknown.json()["detail"]
    for patch, said in {
        '{"priority": 1}': "only state, weight, drain_until and expires lie over a definition",
        '{"stat": "draining"}': "did you mean 'state'?",
        '{"weight": -1}': "must be at least 0",
        '{"drain_until": "2030-01-01T00:00:00Z"}': "no meaning without state: draining",
    }.items():
        answer = api.patch(address, content=patch)
        assert (answer.status_code, said in answer.text) == (422, True), answer.text
    api.patch(upstream, json={"algorithm": "round-robin"})
    answer = api.patch(address, json={"weight": 3})
    assert answer.status_code == 422
    assert "use algorithm: weighted-round-robin" in answer.text
    assert "override" not in state(api, upstream)


def test_a_target_of_a_definition_is_added_replaced_and_taken_out(api: httpx.Client, upstream: str) -> None:
    assert api.put(f"{upstream}/targets/10.0.0.3:81", json={"weight": 2}).status_code == 200
    assert api.put(f"{upstream}/targets/10.0.0.1:80", json={"labels": {"a": "b"}}).status_code == 200
    assert api.get(upstream).json()["targets"] == [
        {**A, "labels": {"a": "b"}},
        B,
        {"host": "10.0.0.3", "port": 81, "weight": 2},
    ]
    api.patch(f"{upstream}/targets/10.0.0.3:81", json={"state": "draining"})
    assert api.delete(f"{upstream}/targets/10.0.0.3:81").status_code == 200
    assert [one["target"] for one in api.get(f"{upstream}/targets").json()["targets"]] == [
        "10.0.0.1:80",
        "[fd00::1]:80",
    ]
    api.put(f"{upstream}/targets/10.0.0.3:81", json={})
    assert state(api, upstream, "10.0.0.3:81")["state"] == "enabled", "what was said of it went with it"


def test_an_upstream_that_is_deleted_takes_along_what_lies_over_it(api: httpx.Client, upstream: str) -> None:
    definition = api.get(upstream).json()
    api.patch(f"{upstream}/targets/10.0.0.1:80", json={"state": "disabled"})
    assert len(api.delete(upstream).json()["changes"]) == 2
    api.put(upstream, json=definition)
    assert state(api, upstream)["state"] == "enabled"


def test_a_change_is_waited_for_by_its_number(api: httpx.Client) -> None:
    made = api.put("/v1/upstreams/waited-for", json={"targets": [{"host": "10.0.0.1", "port": 80}]}).json()
    number = made["revision"]
    got = api.get(f"/v1/revisions/{number}", params={"wait": "95%", "timeout": "10s"}).json()
    assert (got["wait"]["ok"], got["wait"]["share"]) == (True, 95), "nobody is affected"
    assert "wait" not in api.get(f"/v1/revisions/{number}").json()
    assert api.get(f"/v1/revisions/{number}", params={"wait": "101"}).status_code == 422
    assert api.get(f"/v1/revisions/{number + 1000}", params={"wait": "100"}).status_code == 404
