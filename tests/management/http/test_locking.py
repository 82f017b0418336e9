"""Optimistic locking: who read something old is told so before anything else, and no update is lost."""

from concurrent.futures import ThreadPoolExecutor

import httpx

TARGET = {"host": "10.0.0.1", "port": 80}


def test_what_changed_meanwhile_is_refused_before_the_body_is_looked_at(api: httpx.Client) -> None:
    api.put("/v1/upstreams/locked", json={"targets": [TARGET]})
    old = api.get("/v1/upstreams/locked").headers["etag"]
    new = api.put("/v1/upstreams/locked", json={"targets": []}, headers={"If-Match": old})
    assert new.status_code == 200
    stale = api.put("/v1/upstreams/locked", content=b"{", headers={"If-Match": old})
    assert stale.status_code == 412
    assert f"is at {new.headers['etag']}" in stale.json()["detail"]
    for method in ("PATCH", "DELETE"):
        assert api.request(method, "/v1/upstreams/locked", json={}, headers={"If-Match": old}).status_code == 412
    assert api.get("/v1/upstreams/locked").json()["targets"] == []
    assert api.delete("/v1/upstreams/locked", headers={"If-Match": new.headers["etag"]}).status_code == 200


def test_only_what_is_there_or_is_not(api: httpx.Client) -> None:
    only_new = {"If-None-Match": "*"}
    assert api.put("/v1/upstreams/new", json={}, headers={"If-Match": "*"}).status_code == 412
    assert api.put("/v1/upstreams/new", json={}, headers=only_new).status_code == 201
    assert api.put("/v1/upstreams/new", json={}, headers=only_new).status_code == 412
    assert api.put("/v1/upstreams/new", json={"targets": [TARGET]}, headers={"If-Match": "*"}).status_code == 200


def test_targets_have_tags_too(api: httpx.Client) -> None:
    api.put("/v1/upstreams/tagged", json={"targets": [TARGET]})
    address = "/v1/upstreams/tagged/targets/10.0.0.1:80"
    old = api.get(address).headers["etag"]
    drained = api.patch(address, json={"state": "draining"}, headers={"If-Match": old})
    assert drained.status_code == 200
    assert api.patch(address, json={"state": "disabled"}, headers={"If-Match": old}).status_code == 412
    assert api.get(address).headers["etag"] == drained.headers["etag"] != old


def test_concurrent_writers_never_lose_an_update(api: httpx.Client) -> None:
    api.put("/v1/upstreams/counted", json={"labels": {"count": "0"}})
    writers, each = 4, 10

    def count(_: int) -> None:
        done = 0
        while done < each:
            read = api.get("/v1/upstreams/counted")
            data = read.json()
            data["labels"] = {"count": str(int(data["labels"]["count"]) + 1)}
            answer = api.put("/v1/upstreams/counted", json=data, headers={"If-Match": read.headers["etag"]})
            assert answer.status_code in (200, 412), answer.text
            done += answer.status_code == 200

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(count, range(writers)))
    assert api.get("/v1/upstreams/counted").json()["labels"] == {"count": str(writers * each)}
