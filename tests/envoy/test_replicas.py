"""Two control planes on one PostgreSQL, an Envoy at each: any may die, the database too, and nothing is lost or interrupted."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres import Postgres
from rig import target
from writers import Writer, history, marks, missing

from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, EnvoyProcess, Load, XdsServerProcess, send

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(300)]


class Site:
    """Two replicas with the same files, and an Envoy at each."""

    def __init__(self, url: str, directory: Path, stack: ExitStack) -> None:
        self.url, self.directory = url, directory
        self.servers = [
            stack.enter_context(XdsServerProcess(directory, store=url, args=["--log-level", "debug"])) for _ in range(2)
        ]
        self.envoys = [stack.enter_context(EnvoyProcess(self._bootstrap(server))) for server in self.servers]
        self.ports = [envoy.listener_port("static") for envoy in self.envoys]

    @staticmethod
    def _bootstrap(server: XdsServerProcess) -> Bootstrap:
        return Bootstrap(
            node_id="edge",
            node_cluster="tests",
            xds_address=server.xds_address,
            static_listener=0,
            static_listener_address="127.0.0.1",
        )

    def api(self, replica: int, method: str, path: str, body: Any = None) -> httpx.Response:
        return httpx.request(method, f"http://{self.servers[replica].http_address}{path}", json=body, timeout=30)

    def ready(self, replica: int) -> tuple[int, Any]:
        answer = self.api(replica, "GET", "/readyz")
        return answer.status_code, answer.json().get("writable")

    def write(self, name: str, *upstreams: dict[str, Any]) -> None:
        """A file that both replicas are given."""
        new = self.directory / f".{name}.new"
        new.write_text(json.dumps({"upstreams": upstreams}))
        os.replace(new, self.directory / f"{name}.yaml")

    def versions(self, replica: int) -> dict[str, Any]:
        """Of every cluster that an Envoy has, what it has of endpoints, and the version of all of these that it was sent."""
        dump = json.loads(self.envoys[replica].admin("/config_dump?include_eds"))
        sent = [event for event in self.servers[replica].events("xds.sent") if event["type"] == "ClusterLoadAssignment"]
        found: dict[str, Any] = {"endpoints": sent[-1]["version"] if sent else ""}
        for part in dump["configs"]:
            for each in part.get("dynamic_active_clusters", []):
                found[f"cluster {each['cluster']['name']}"] = each["version_info"]
            for each in part.get("dynamic_endpoint_configs", []):
                config = each["endpoint_config"]
                found[f"endpoints {config.get('cluster_name')}"] = config.get("endpoints", [])
        return found

    def wait_for_equality(self) -> dict[str, Any]:
        """Wait until both Envoys have the same of everything."""
        self.envoys[0].wait_until(lambda: self.versions(0) == self.versions(1) != {}, 30, "equal versions")
        return self.versions(0)

    def knows(self, replica: int, name: str, description: str) -> bool:
        answer = self.api(replica, "GET", f"/v1/upstreams/{name}")
        return answer.is_success and answer.json().get("description") == description


@pytest.fixture
def backends() -> Iterator[tuple[Backend, Backend]]:
    with Backend("a") as a, Backend("b") as b:
        yield a, b


def shop(*backends: Backend, **more: Any) -> dict[str, Any]:
    return {"targets": [target(backend) for backend in backends], "algorithm": "weighted-round-robin", **more}


@pytest.fixture
def site(postgresql: Postgres, backends: tuple[Backend, Backend], tmp_path: Path) -> Iterator[Site]:
    """With an upstream of the API and one of a file, both served by both."""
    with ExitStack() as stack:
        (tmp_path / "of-a-file.yaml").write_text(json.dumps({"upstreams": [{"name": "of-a-file", **shop(*backends)}]}))
        site = Site(postgresql.database(), tmp_path, stack)
        assert site.api(0, "PUT", "/v1/upstreams/shop", shop(*backends)).status_code == 201
        for envoy in site.envoys:
            for name in ("shop", "of-a-file"):
                envoy.wait_for_endpoints(name, {backend.address: "HEALTHY" for backend in backends})
        yield site


def test_replicas_that_die_and_a_database_that_does(
    site: Site, backends: tuple[Backend, Backend], postgresql: Postgres, record_property: Callable[[str, object], None]
) -> None:
    writers: list[Writer] = []

    def write_to(replica: int) -> Writer:
        name = f"w{len(writers)}"
        writers.append(Writer(name, site.servers[replica].http_address, random.randrange(2**32)))
        writers[-1].start()
        return writers[-1]

    def both_write() -> None:
        """Wait until each replica has acknowledged some more."""
        alive = [writer for writer in writers if writer.is_alive()]
        assert len(alive) == 2
        for writer, before in [(writer, len(writer.acknowledged)) for writer in alive]:
            site.servers[0].wait_until(
                lambda w=writer, n=before: len(w.acknowledged) > n + 3, 60, "acknowledged writes"
            )  # type: ignore[misc]

    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(port, name, rate=50, connections=2))
            for port in site.ports
            for name in ("shop", "of-a-file")
        ]
        write_to(0)
        write_to(1)
        both_write()

        # One is killed: the one that reads the files.
        reader = next(n for n, server in enumerate(site.servers) if server.events("definitions.reading"))
        site.servers[reader].kill()
        other = 1 - reader
        site.write("of-a-file", {"name": "of-a-file", **shop(*backends, description="while the reader was dead")})
        site.servers[other].wait_for_event("definitions.reading", 15)
        site.servers[other].wait_until(
            lambda: site.knows(other, "of-a-file", "while the reader was dead"), 15, "the edit of the file"
        )
        site.servers[reader].restart()
        writers[reader].join(30)
        write_to(reader)
        both_write()

        # The database stops, and starts again.
        postgresql.stop()
        for replica, server in enumerate(site.servers):
            server.wait_for_event("store.lost", 15)
            answer = site.api(replica, "PUT", "/v1/upstreams/lost", {})
            assert answer.status_code == 503
            assert "nothing was changed, and what is in force goes on being served" in answer.json()["detail"]
            assert answer.headers["retry-after"] == "1"
            assert site.ready(replica) == (200, False)
            assert site.api(replica, "GET", "/v1/upstreams/shop").status_code == 200
            assert site.api(replica, "GET", "/v1/revisions").status_code == 503
        for load in loads:
            load.wait_for(20)
        postgresql.start()
        for replica, server in enumerate(site.servers):
            server.wait_for_event("store.found", 15)
            server.wait_until(lambda n=replica: site.ready(n) == (200, True), 15, "a store that can be written")  # type: ignore[misc]
        both_write()
        site.write("of-a-file", {"name": "of-a-file", **shop(*backends, description="after all that")})
        for replica, server in enumerate(site.servers):
            server.wait_until(lambda n=replica: site.knows(n, "of-a-file", "after all that"), 30, "the edited file")  # type: ignore[misc]
        for writer in writers:
            writer.stop()

        # The last word reaches both.
        site.api(0, "PATCH", f"/v1/upstreams/shop/targets/{backends[1].address}", {"state": "disabled"})
        for port in site.ports:
            site.envoys[0].wait_until(lambda p=port: send(p, "shop", 10) == {"a": 10}, 15, "the drained target")  # type: ignore[misc]
        versions = site.wait_for_equality()
        for load in loads:
            load.wait_for(20)
    assert [load.errors for load in loads] == [{}] * 4, "no Envoy was ever without endpoints"
    for server in site.servers:
        assert (len(server.events("store.lost")), len(server.events("store.found"))) == (1, 1), "told once"

    past = history(site.url)
    assert list(past) == [*range(1, len(past) + 1)]
    written = [one for writer in writers for one in writer.acknowledged]
    assert missing(written, past) == []
    found = marks(past)
    assert len(found) == len(set(found)), "each write is there once"
    assert [writer.surprises for writer in writers] == [[]] * len(writers)
    promised = {each for writer in writers for says in writer.refused for each in says.items() if each[1] is not None}
    assert not promised & set(found), "who was told that nothing was changed was told the truth"
    record_property(
        "measured",
        f"two replicas and PostgreSQL, a replica killed, the database stopped and started: {len(written)} acknowledged "
        f"writes, all there; {len(promised)} refused, none there; {sum(load.total for load in loads)} requests through "
        f"Envoys, none failed; {len(versions)} resources of equal versions",
    )


def test_a_database_that_stands_still_is_given_up_on(site: Site, postgresql: Postgres) -> None:
    """It takes connections and answers nothing: the network may look like that for hours."""
    loads = [Load(port, "shop", rate=50, connections=2) for port in site.ports]
    with loads[0], loads[1]:
        postgresql.suspend()
        try:
            for replica in (0, 1):
                answer = site.api(replica, "PUT", "/v1/upstreams/new", {"description": "lost"})
                assert answer.status_code == 503
                assert answer.elapsed.total_seconds() < 8
                assert site.ready(replica) == (200, False)
                assert site.api(replica, "PUT", "/v1/upstreams/new", {}).elapsed.total_seconds() < 3, "known by now"
        finally:
            postgresql.resume()
        for replica, server in enumerate(site.servers):
            server.wait_until(lambda n=replica: site.ready(n) == (200, True), 30, "a store that can be written")  # type: ignore[misc]
        assert site.api(0, "GET", "/v1/upstreams/new").status_code == 404
        assert site.api(1, "PUT", "/v1/upstreams/new", {"description": "found"}).status_code == 201
        site.servers[0].wait_until(lambda: site.knows(0, "new", "found"), 10, "the other's write")
        postgresql.suspend()
        try:
            site.servers[0].wait_for_event("store.lost", 20, count=2)
            assert site.servers[0].stop(15) == 0, "calls that hang keep nobody from ending"
        finally:
            postgresql.resume()
    assert [load.errors for load in loads] == [{}, {}]


def test_a_change_of_one_is_served_by_the_other_within_a_second(
    site: Site, backends: tuple[Backend, Backend], record_property: Callable[[str, object], None]
) -> None:
    b = backends[1]
    times = []
    for turn in range(10):
        state = "disabled" if turn % 2 == 0 else "enabled"
        wanted = {"a": 4} if turn % 2 == 0 else {"a": 2, "b": 2}
        start = time.monotonic()
        assert site.api(turn % 2, "PATCH", f"/v1/upstreams/shop/targets/{b.address}", {"state": state}).is_success
        port = site.ports[1 - turn % 2]
        site.envoys[0].wait_until(lambda p=port, w=wanted: send(p, "shop", 4) == w, 15, f"{b.name} {state}")  # type: ignore[misc]
        times.append(time.monotonic() - start)
    middle = sorted(times)[len(times) // 2]
    record_property(
        "measured",
        f"a target changed at one replica, until the other's Envoy acts on it: {1000 * middle:.0f} ms (median)",
    )
    assert middle < 1.5, "told, not found by asking each second"
