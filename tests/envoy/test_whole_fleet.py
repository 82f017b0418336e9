"""Two control planes on one PostgreSQL, an Envoy at each: both show both, and who waits at one waits for the other's Envoy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import CommandLine
from forked_commands import ForkedCommands
from postgres import Postgres
from rig import target

from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, EnvoyProcess, XdsServerProcess

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(180)]
GONE = 10.0
"""Seconds after which the Envoys of a replica that died are gone, as the documentation says."""


class Site:
    """Replica a with Envoy ``one``, and b with ``two``."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.servers = [stack.enter_context(XdsServerProcess(store=url)) for _ in range(2)]
        self.a, self.b = self.servers
        self.one, self.two = (
            stack.enter_context(EnvoyProcess(self._bootstrap(server, name)))
            for server, name in zip(self.servers, ("one", "two"), strict=True)
        )
        self._clients = {server: stack.enter_context(httpx.Client(timeout=60)) for server in self.servers}

    @property
    def names(self) -> list[str]:
        """By which replicas are called."""
        return [f"tests/{server.pid}" for server in self.servers]

    @staticmethod
    def _bootstrap(server: XdsServerProcess, name: str) -> Bootstrap:
        return Bootstrap(
            node_id=name,
            node_cluster="tests",
            xds_address=server.xds_address,
            static_listener=0,
            static_listener_address="127.0.0.1",
        )

    def ask(self, server: XdsServerProcess, method: str, path: str, **more: Any) -> Any:
        answer = self._clients[server].request(method, f"http://{server.http_address}{path}", **more)
        assert answer.is_success, answer.text
        return answer.json()

    def nodes(self, server: XdsServerProcess) -> Any:
        return self.ask(server, "GET", "/v1/nodes")

    def shown(self, server: XdsServerProcess) -> dict[str, list[str]]:
        return {node["id"]: node["replicas"] for node in self.nodes(server)["nodes"] if node["connected"]}

    def apply(self, server: XdsServerProcess, *upstreams: dict[str, Any], **query: Any) -> Any:
        wait = {"wait": "100%", "timeout": "20s"} | query
        return self.ask(server, "POST", "/v1/apply", json={"upstreams": upstreams}, params=wait)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend("a") as backend:
        yield backend


@pytest.fixture(scope="module")
def shared(postgresql: Postgres) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("XDS_SERVER_IDENTIFIER", "tests")
        yield Site(postgresql.database(), stack)


@pytest.fixture
def site(shared: Site) -> Site:
    """Whole, whatever a test before left."""
    for server in shared.servers:
        if not server.is_running:
            server.restart()
    whole = {"one": [shared.names[0]], "two": [shared.names[1]]}
    for server in shared.servers:
        server.wait_until(lambda s=server: shared.shown(s) == whole, 30, "both Envoys")  # type: ignore[misc]
        server.wait_until(lambda s=server: not shared.nodes(s)["unknown"], 30, "certainty")  # type: ignore[misc]
    return shared


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedCommands]:
    forked = ForkedCommands()
    yield forked
    forked.close()


def test_both_show_all_and_wait_for_all(
    site: Site, backend: Backend, forked: ForkedCommands, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    a, b = site.servers
    shop = {"name": "shop", "targets": [target(backend)]}
    first = site.apply(a, shop)
    assert (first["wait"]["ok"], first["wait"]["affected"], first["wait"]["acknowledged"]) == (True, 2, 2)
    for envoy in (site.one, site.two):
        envoy.wait_for_endpoints("shop", {backend.address: "HEALTHY"}, 0.5)
    a.wait_until(lambda: site.nodes(a) == site.nodes(b), 10, "the same on both")
    assert {node["status"] for node in site.nodes(b)["nodes"]} == {"SYNCED"}

    # What a change would touch, and what it does.
    (change,) = site.ask(b, "POST", "/v1/apply?dry_run=true", json={"upstreams": [shop | {"algorithm": "maglev"}]})[
        "changes"
    ]
    assert change["nodes"] == {"count": 2, "ids": ["one", "two"]}
    messages = site.ask(b, "GET", "/v1/nodes/one")
    assert (messages["id"], messages["replicas"]) == ("one", [site.names[0]])

    times = []
    for number in range(10):
        start = time.monotonic()
        made = site.apply(
            (a, b)[number % 2], shop | {"description": "x", "labels": {"turn": str(number)}, "targets": []}
        )
        made = site.apply((a, b)[number % 2], shop)
        times.append((time.monotonic() - start) / 2)
        assert (made["wait"]["ok"], made["wait"]["acknowledged"]) == (True, 2), made
    record_property(
        "measured",
        f"apply --wait 100% at one of two replicas, whose Envoys have it: {1000 * sorted(times)[5]:.0f} ms",
    )

    # On the command line.
    document = tmp_path / "shop.json"
    document.write_text(json.dumps({"upstreams": [shop | {"targets": []}]}))
    cli = CommandLine(a.http_address, forked)
    assert "2 of 2 affected Envoys acknowledged it" in cli.ok("apply", "-f", document, "--wait", "100%")
    rows = {row["NODE"]: row["REPLICA"] for row in cli.rows("get", "nodes")}
    assert rows == {"one": site.names[0], "two": site.names[1]}


def test_who_has_not_acknowledged_is_named_wherever_it_is(
    site: Site, backend: Backend, forked: ForkedCommands, tmp_path: Path
) -> None:
    a, b = site.servers
    shop = {"name": "shop", "targets": [target(backend)]}
    assert site.apply(a, shop)["wait"]["ok"]
    site.two.suspend()
    try:
        waited = site.apply(a, shop | {"targets": []}, timeout="2s")["wait"]
        assert (waited["ok"], waited["affected"], waited["acknowledged"]) == (False, 2, 1)
        assert [one["node"] for one in waited["pending"]] == ["two"]
        assert waited["detail"].endswith("not answered: two")
        assert site.apply(a, shop, wait="50%")["wait"]["ok"]
        document = tmp_path / "shop.json"
        document.write_text(json.dumps({"upstreams": [shop | {"algorithm": "random"}]}))
        said = CommandLine(a.http_address, forked).refused("apply", "-f", document, "--wait", "100%", "--timeout", "1s")
        assert "two has not acknowledged it" in said
    finally:
        site.two.resume()
    assert site.apply(a, shop)["wait"]["ok"]

    # What it rejects is told as well, at both.
    broken = {"name": "broken", "targets": [target(backend)], "nodes": {"ids": ["two"]}}
    made = site.apply(a, broken | {"tls": {"sni": "a.example", "ca_file": "/nowhere/ca.pem"}})
    assert [(one["node"], one["upstreams"][0]["field"]) for one in made["wait"]["rejected"]] == [("two", "tls.ca_file")]

    def degraded(server: XdsServerProcess) -> list[str]:
        found = site.ask(server, "GET", f"/v1/revisions/{made['revision']}")["degraded"]
        return [f"{one['node']} {one['name']} {one['field']}" for one in found]

    for server in (a, b):
        server.wait_until(lambda s=server: degraded(s) == ["two broken tls.ca_file"], 10, "the rejection")  # type: ignore[misc]
    assert site.apply(b, broken)["wait"]["ok"]
    a.wait_until(lambda: degraded(a) == [], 10, "the mended definition")


def test_a_replica_that_stands_still_is_waited_for_and_one_that_died_is_not(
    site: Site, backend: Backend, record_property: Callable[[str, object], None]
) -> None:
    a, b = site.servers
    own, other = site.names
    shop = {"name": "shop", "targets": [target(backend)]}
    assert site.apply(a, shop)["wait"]["ok"]
    b.suspend()
    try:
        waited = site.apply(a, shop | {"targets": []}, timeout="1s")["wait"]
        assert (waited["ok"], waited["awaited_replicas"]) == (False, [other])
        assert waited["detail"] == (
            f"1 of 1 affected Envoys acknowledged it, 100 % were wanted; not served yet by {other}"
        )
    finally:
        b.resume()
    assert site.apply(a, shop)["wait"]["acknowledged"] == 2

    b.kill()
    start = time.monotonic()
    a.wait_until(lambda: site.shown(a) == {"one": [own]}, 2 * GONE, "the end of the other's Envoy")
    took = time.monotonic() - start
    assert a.wait_for_event("replica.left")["replica"] == other
    alone = site.apply(a, shop | {"targets": []})["wait"]
    assert (alone["ok"], alone["affected"]) == (True, 1)
    record_property("measured", f"a replica killed: its Envoy is gone from the other's view after {took:.1f} s")
    b.restart()
    a.wait_until(lambda: "two" in site.shown(a), 30, "the Envoy that came back")
    assert site.apply(a, shop)["wait"]["acknowledged"] == 2
    assert b.stop() == 0
    start = time.monotonic()
    a.wait_until(lambda: site.shown(a) == {"one": [own]}, GONE, "the end of the one that stopped")
    assert time.monotonic() - start < GONE / 2, "one that stops says so"


def test_a_lost_database_leaves_each_its_own_and_says_so(
    site: Site, postgresql: Postgres, forked: ForkedCommands, backend: Backend
) -> None:
    a, b = site.servers
    assert site.apply(a, {"name": "shop", "targets": [target(backend)]})["wait"]["ok"]
    postgresql.stop()
    try:
        for server, name in ((a, "one"), (b, "two")):
            server.wait_until(lambda s=server: site.nodes(s)["unknown"], 15, "the loss")  # type: ignore[misc]
            found = site.nodes(server)
            assert [node["id"] for node in found["nodes"]] == [name]
            assert found["unknown"].startswith("not all is known of other replicas: the store cannot be ")
        done = CommandLine(a.http_address, forked).run("get", "nodes")
        assert done.returncode == 0
        assert "xds-server: not all is known of other replicas: the store cannot be " in done.stderr
    finally:
        postgresql.start()
    for server in (a, b):
        server.wait_until(lambda s=server: len(site.shown(s)) == 2, 20, "both Envoys")  # type: ignore[misc]
        server.wait_until(lambda s=server: not site.nodes(s)["unknown"], 20, "certainty")  # type: ignore[misc]
    assert site.apply(a, {"name": "shop", "targets": []})["wait"]["acknowledged"] == 2
