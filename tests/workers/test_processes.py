"""`serve --workers 2` as it is run: clients of both processes are served alike, and known as if there were one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from spread_nodes import SpreadNode, ready, spread_over, upstream, whereabouts, workers_of

from xds_server.testing import XdsServerProcess
from xds_server.workers.process import WorkerProcess
from xds_server.xds import CLUSTER, ENDPOINTS

pytestmark = pytest.mark.timeout(120)


def waited(server: XdsServerProcess, revision: int, within: str = "10s") -> dict[str, Any]:
    found: dict[str, Any] = server.api("GET", f"/v1/revisions/{revision}?wait=100%25&timeout={within}")["wait"]
    return found


def change(server: XdsServerProcess, name: str = "shop", weight: int = 7, **more: Any) -> int:
    return server.apply({"upstreams": [upstream(name, weight, **more)]})


def statuses(server: XdsServerProcess) -> dict[str, str]:
    """Of the nodes that are connected."""
    return {each["id"]: each["status"] for each in server.api("GET", "/v1/nodes")["nodes"] if each["connected"]}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_change_reaches_the_clients_of_both_and_all_are_counted(server: XdsServerProcess) -> None:
    with spread_over(server) as nodes:
        revision = change(server)
        progress = waited(server, revision)
        assert (progress["ok"], progress["affected"], progress["acknowledged"]) == (True, len(nodes), len(nodes))
        assert progress["seconds"] < 5
        versions = {node.held[ENDPOINTS]["shop"] for node in nodes}
        assert len(versions) == 1, "as if one process had told all of them"
        in_sync = {node.id: "SYNCED" for node in nodes}
        server.wait_until(lambda: statuses(server) == in_sync, 10, "all in sync")
        preview = server.api("POST", "/v1/apply?dry_run=true", {"upstreams": [upstream("shop", 8)]})
        assert preview["changes"][0]["nodes"]["count"] == len(nodes)


def test_versions_are_those_of_one_process(server: XdsServerProcess) -> None:
    with XdsServerProcess() as alone, spread_over(server) as nodes:
        alone.apply({"upstreams": [upstream("shop"), upstream("books")]})
        lone = SpreadNode(alone.xds_address, "lone")
        try:
            alone.wait_until(lambda: len(lone.held[ENDPOINTS]) == 2, 10, "what there is")
            server.wait_until(lambda: all(node.held == lone.held for node in nodes), 10, "equal versions")
        finally:
            lone.close()


def test_metrics_are_those_of_all(server: XdsServerProcess) -> None:
    def figure(name: str) -> float:
        lines = httpx.get(f"http://{server.http_address}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    acknowledged = 'xds_server_responses_acknowledged_total{type="Cluster"}'
    converged = 'xds_server_convergence_seconds_count{outcome="acknowledged"}'
    connected = 'xds_server_nodes{variant="aggregated-delta"}'
    server.wait_until(lambda: figure(connected) == 0, 10, "the end of earlier nodes")
    before = figure(acknowledged)
    with spread_over(server) as nodes:
        server.wait_until(lambda: figure(acknowledged) >= before + len(nodes), 10, "what workers counted")
        assert figure(connected) == len(nodes)
        server.wait_until(
            lambda: figure('xds_server_node_types{status="SYNCED",type="Cluster"}') == len(nodes), 10, "all"
        )
        before = figure(converged)
        assert waited(server, change(server))["ok"]
        server.wait_until(lambda: figure(converged) > before, 10, "the revision in the metric")
        assert figure(converged) == before + 1, "once for the revision, not once for each worker"
        before, restarts = figure(acknowledged), len(server.events("worker.started"))
        os.kill(workers_of(server)[1], signal.SIGKILL)
        server.wait_for_event("worker.started", 20, count=restarts + 1)
        assert figure(acknowledged) >= before, "what a worker counted stays"


def test_a_rejection_is_known_and_told_with_its_definition(server: XdsServerProcess) -> None:
    with spread_over(server) as nodes:
        here = {number: next(node for node in nodes if whereabouts(server)[node.id] == number) for number in (1, 2)}
        for node in here.values():
            node.refuses = "shop"
        revision = change(server, connect_timeout="3s")
        assert not waited(server, revision)["ok"], "which is told once anybody rejects it"

        def rejected() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = server.api("GET", f"/v1/revisions/{revision}")["delivery"]["rejected"]
            return found

        refusing = {node.id for node in here.values()}
        server.wait_until(lambda: {each["node"] for each in rejected()} == refusing, 10, "both rejections")
        assert {found["name"] for each in rejected() for found in each["upstreams"]} == {"shop"}
        server.wait_for_event("xds.rejected", 10, count=2)
        told = server.events("xds.rejected")[-2:]
        assert {(each["worker"], each["node"]) for each in told} == {(n, node.id) for n, node in here.items()}
        assert {each["definitions"] for each in told} == {"upstream shop"}
        server.wait_for_event("xds.quarantined", 10, count=2)
        server.wait_until(
            lambda: len(server.api("GET", f"/v1/revisions/{revision}")["degraded"]) == 2, 10, "the refusals"
        )
        for node in here.values():
            node.refuses = ""
        assert waited(server, change(server, connect_timeout="4s"))["ok"]


def test_a_worker_that_is_killed_is_replaced_and_its_clients_return(server: XdsServerProcess) -> None:
    with spread_over(server) as nodes:
        at = whereabouts(server)
        at_first, others = ([node for node in nodes if at[node.id] == number] for number in (1, 2))
        before = {node.id: (node.connections, len(node.sent)) for node in nodes}
        deaths, killed = len(server.events("worker.died")), workers_of(server)[1]
        os.kill(killed, signal.SIGKILL)
        died = server.wait_for_event("worker.died", 10, count=deaths + 1)
        assert (died["worker"], died["problem"]) == (1, "killed by SIGKILL")
        server.wait_until(lambda: all(node.connections > before[node.id][0] for node in at_first), 20, "their return")
        server.wait_until(lambda: ready(server), 20, "readiness")
        assert workers_of(server)[1] != killed
        progress = waited(server, change(server))
        assert (progress["ok"], progress["acknowledged"]) == (True, len(nodes))
        sent_again = [node.id for node in nodes if len(node.sent) > before[node.id][1]]
        assert sent_again == [], "they hold the clusters, in the same versions"
        assert {node.connections for node in others} == {1}, "nobody else noticed"
        assert statuses(server).keys() == {node.id for node in nodes}


def test_it_is_ready_when_every_worker_serves(server: XdsServerProcess) -> None:
    server.wait_until(lambda: ready(server), 20, "readiness")
    for pid in workers_of(server).values():
        os.kill(pid, signal.SIGKILL)
    server.wait_until(lambda: not ready(server), 10, "no readiness")
    server.wait_until(lambda: ready(server), 20, "readiness again")


def test_a_worker_that_stands_still_stops_nobody_and_is_named(server: XdsServerProcess) -> None:
    with spread_over(server) as nodes:
        stopped = workers_of(server)[2]
        os.kill(stopped, signal.SIGSTOP)
        try:
            for weight in range(10, 60):
                revision = change(server, weight=weight)
            at_first = [node for node in nodes if whereabouts(server)[node.id] == 1]
            newest = waited(server, revision, "2s")
            assert (newest["ok"], newest["awaited_replicas"]) == (False, ["worker 2"])
            assert "not served yet by worker 2" in newest["detail"]
            assert (newest["affected"], newest["acknowledged"]) == (len(at_first), len(at_first))
            assert len({node.held[ENDPOINTS]["shop"] for node in at_first}) == 1
        finally:
            os.kill(stopped, signal.SIGCONT)
        newest = waited(server, revision)
        assert (newest["ok"], newest["acknowledged"]) == (True, len(nodes))
        assert len({node.held[ENDPOINTS]["shop"] for node in nodes}) == 1


def test_nodes_move_to_other_groups_where_selectors_change(server: XdsServerProcess) -> None:
    with spread_over(server, cluster="edge") as nodes:
        only_edge, nobody = {"nodes": {"clusters": ["edge"]}}, {"nodes": {"clusters": ["elsewhere"]}}
        assert waited(server, change(server, "mine", **only_edge))["acknowledged"] == len(nodes)
        assert all({*node.held[CLUSTER]} == {"shop", "books", "mine"} for node in nodes)
        assert waited(server, change(server, "books", **nobody))["acknowledged"] == len(nodes)
        assert all({*node.held[CLUSTER]} == {"shop", "mine"} for node in nodes)
        # What is the group's alone changes for its members, and goes with its selector.
        assert waited(server, change(server, "mine", 5, **only_edge))["acknowledged"] == len(nodes)
        server.api("DELETE", "/v1/upstreams/mine")
        revision = server.api("DELETE", "/v1/upstreams/books")["revision"]
        assert waited(server, revision)["ok"]
        server.wait_until(lambda: all({*node.held[CLUSTER]} == {"shop"} for node in nodes), 10, "what is left")


def test_pollers_are_served_by_the_manager(server: XdsServerProcess) -> None:
    asked = {"node": {"id": "poller", "cluster": "edge"}}
    answer = httpx.post(f"http://{server.http_address}/v3/discovery:clusters", json=asked)
    assert sorted(each["name"] for each in answer.json()["resources"]) == ["books", "shop"]


def test_it_drains_and_leaves_no_process(own_server: XdsServerProcess) -> None:
    pids = workers_of(own_server).values()
    with spread_over(own_server) as nodes:
        assert own_server.stop() == 0
        closed = own_server.events("xds.closed")
        assert {each["node"] for each in closed} == {node.id for node in nodes}
        assert {each["detail"] for each in closed} == {"the server stops"}
        assert not own_server.events("worker.died")
    assert not any(map(is_alive, pids))


def test_no_process_outlives_the_manager_and_a_new_one_may_start_at_once(own_server: XdsServerProcess) -> None:
    pids = workers_of(own_server).values()
    with spread_over(own_server) as nodes:
        os.kill(own_server.pid, signal.SIGKILL)
        own_server.restart()
        own_server.wait_until(lambda: all(node.connections > 1 for node in nodes), 20, "their return")
    own_server.wait_until(lambda: not any(map(is_alive, pids)), 10, "the end of the old workers")


def test_a_port_that_is_taken_is_refused(server: XdsServerProcess, tmp_path: Path) -> None:
    def refused(address: str, *args: str) -> str:
        command = [*XdsServerProcess.command, "serve", "--workers", "2", "--xds-address", address, *args]
        command += [
            "--http-address",
            "127.0.0.1:0",
            "--grpc-address",
            "127.0.0.1:0",
            "--store",
            f"sqlite:///{tmp_path}/s.db",
        ]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert run.returncode == 1
        assert "Traceback" not in run.stderr
        return run.stderr

    for pid in workers_of(server).values():
        os.kill(pid, signal.SIGKILL)  # not even while nobody listens
    said = refused(server.xds_address)
    assert f"cannot listen on {server.xds_address}: it is in use" in said
    assert "choose another one with --xds-address" in said
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        assert "is in use" in refused(f"127.0.0.1:{other.getsockname()[1]}"), "also where it would be shared"
    assert "nowhere.invalid has no address" in refused("nowhere.invalid:18000", "--insecure")


async def test_a_worker_knows_nothing_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_STORE", "postgresql://u:secret@127.0.0.1/d")
    monkeypatch.setenv("PGPASSWORD", "secret")
    worker = await WorkerProcess.spawn()
    try:
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"secret" not in environment
        assert b"PYTHONPATH=" in environment
    finally:
        worker.kill()
        await worker.ended()
