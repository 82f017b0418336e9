"""The guard, by traffic: what would empty an Envoy waits for somebody, and the traffic goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import Rig, target

from xds_server.testing import Backend

pytestmark = pytest.mark.envoy
MANY = {"name": "many", "targets": [{"host": f"127.0.1.{n + 1}", "port": 9} for n in range(20)]}


def shop(backend: Backend) -> dict[str, Any]:
    return {"name": "shop", "targets": [target(backend)]}


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend("a") as backend:
        yield backend


@pytest.fixture
def rig(tmp_path: Path, backend: Backend) -> Iterator[Rig]:
    """One upstream with a backend and one with many targets, of a file."""
    with Rig(tmp_path) as rig:
        rig.write("all", upstreams=[shop(backend), MANY])
        rig.serves("shop", backend)
        rig.routes("shop")
        yield rig


def api(rig: Rig, method: str, path: str, body: Any = None) -> httpx.Response:
    return httpx.request(method, f"http://{rig.server.http_address}{path}", json=body, timeout=30)


def revisions(rig: Rig) -> dict[int, str]:
    return {one["revision"]: one["state"] for one in api(rig, "GET", "/v1/revisions").json()["revisions"]}


def endpoints(rig: Rig, name: str) -> int:
    return len(rig.envoy.endpoints(name))


def test_a_file_that_loses_most_targets_is_held_and_released(rig: Rig, backend: Backend) -> None:
    assert set(revisions(rig).values()) == {"applied"}, "the first load is not held"
    with rig.load("shop") as load:
        rig.write("all", upstreams=[])
        held = rig.server.wait_for_event("revision.held")["revision"]
        load.wait_for(100)
        assert endpoints(rig, "many") == 20
        assert "21 of 21 targets, more than 50 %" in api(rig, "GET", f"/v1/revisions/{held}").json()["note"]
        # A part of it is undone, and the rest is what is held from then on.
        rig.write("all", upstreams=[shop(backend)])
        newer = rig.server.wait_for_event("revision.held", count=2)["revision"]
        assert (revisions(rig)[held], revisions(rig)[newer]) == ("superseded", "held")
        load.wait_for(50)
        assert endpoints(rig, "many") == 20
        made = api(rig, "POST", f"/v1/revisions/{newer}/confirm")
        assert (made.status_code, made.json()["state"]) == (200, "applied")
        rig.envoy.wait_until(lambda: "many" not in rig.envoy.clusters(), 10, "the cluster to go")
        load.wait_for(50)
    assert load.failures == 0, load.errors
    assert revisions(rig)[newer] == "released"
    assert api(rig, "POST", f"/v1/revisions/{newer}/confirm").status_code == 409, "once"


def test_what_was_held_and_undone_cannot_be_confirmed(rig: Rig, backend: Backend) -> None:
    rig.write("all", upstreams=[shop(backend)])
    held = rig.server.wait_for_event("revision.held")["revision"]
    rig.write("all", upstreams=[shop(backend), MANY])
    rig.server.wait_until(lambda: revisions(rig)[held] == "superseded", 10, "the files' next change")
    answer = api(rig, "POST", f"/v1/revisions/{held}/confirm")
    assert (answer.status_code, "superseded" in answer.json()["detail"]) == (409, True)
    assert endpoints(rig, "many") == 20


def test_a_prune_is_held_too_and_asked_twice_is_one(rig: Rig, backend: Backend) -> None:
    body = {"upstreams": [{"name": f"api-{n}", "targets": [target(backend)]} for n in range(30)]}
    assert api(rig, "POST", "/v1/apply", body).status_code == 200
    rig.serves("api-29", backend)
    rig.routes("api-29")
    few = {"upstreams": body["upstreams"][:1]}
    with rig.load("api-29") as load:
        made = api(rig, "POST", "/v1/apply?prune=true", few)
        assert (made.status_code, made.json()["state"]) == (202, "held")
        assert "confirm" in made.json()["note"]
        number = made.json()["revision"]
        again = api(rig, "POST", "/v1/apply?prune=true", few)
        assert (again.status_code, again.json()["revision"]) == (202, number)
        load.wait_for(50)
    assert load.failures == 0, load.errors
    assert api(rig, "POST", f"/v1/revisions/{number}/confirm").status_code == 200
    rig.envoy.wait_until(lambda: "api-29" not in rig.envoy.clusters(), 10, "the cluster to go")
    rig.serves("api-0", backend)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_directory_that_goes_empties_no_envoy_now_or_after_a_restart(rig: Rig, backend: Backend, how: str) -> None:
    with rig.load("shop") as load:
        elsewhere = rig.directory.with_name("elsewhere")
        if how == "missing":
            rig.directory.rename(elsewhere)
        else:
            elsewhere.mkdir()
            for file in rig.directory.iterdir():
                shutil.move(file, elsewhere)
        rig.server.wait_for_event("definitions.broken")
        load.wait_for(50)
        rig.server.restart()
        rig.server.wait_for_event("definitions.broken")
        rig.server.wait_for_event("xds.acknowledged", 15)
        load.wait_for(50)
    assert load.failures == 0, load.errors
    assert endpoints(rig, "many") == 20
    assert set(revisions(rig).values()) == {"applied"}
