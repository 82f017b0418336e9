"""What a real Envoy has, takes and refuses, as the command line tells it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from command_line import CommandLine

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess
from xds_server.testing.server import XdsServerProcess

pytestmark = pytest.mark.envoy
MISSING = "/nowhere/ca.pem"


@pytest.fixture(scope="module")
def envoy(server: XdsServerProcess) -> Iterator[EnvoyProcess]:
    node = Bootstrap(node_id="edge-1", node_cluster="edge", region="eu", zone="eu-1a", xds_address=server.xds_address)
    with EnvoyProcess(node) as envoy:
        yield envoy


def document(name: str, **more: Any) -> str:
    return json.dumps({"upstreams": [{"name": name, "targets": [{"host": "127.0.0.1", "port": 9}], **more}]})


def revision(said: str) -> int:
    return int(said.partition(":")[0].removeprefix("revision "))


def test_it_is_among_the_nodes(cli: CommandLine, envoy: EnvoyProcess) -> None:
    cli.ok("apply", "-f", "-", "--wait", "100%", stdin=document("seen"))
    envoy.wait_until(lambda: cli.rows("get", "nodes"), 10, "the node")
    (row,) = cli.rows("get", "nodes")
    assert row["VERSION"].startswith("envoy 1.")
    assert row | {"VERSION": ""} == {
        "NODE": "edge-1",
        "CLUSTER": "edge",
        "LOCALITY": "eu/eu-1a",
        "VERSION": "",
        "CONNECTED": "yes",
        "STATUS": "SYNCED",
        "CLUSTERS": "SYNCED",
        "ENDPOINTS": "SYNCED",
        "LISTENERS": "SYNCED",
    }
    (node,) = cli.json("get", "nodes")
    whole = cli.json("get", "nodes", "edge-1")
    assert whole["types"].keys() == node["types"].keys()
    assert "status: SYNCED" in cli.ok("get", "nodes", "edge-1")
    assert cli.refused("get", "nodes", "edge-9").startswith("there is no node 'edge-9'")


def test_waiting_for_what_operators_say(cli: CommandLine, envoy: EnvoyProcess) -> None:
    """Where the command ends, Envoy has it."""
    target = "127.0.0.1:9"
    at_once = {"common_lb_config": {"update_merge_window": "0s"}}
    said = document("operated", algorithm="weighted-round-robin", envoy=at_once)
    cli.ok("apply", "-f", "-", "--wait", "100%", stdin=said)
    for verb, more, states in (
        ("drain", (), ["DRAINING"]),
        ("enable", (), ["HEALTHY"]),
        ("weight", (7,), ["HEALTHY"]),
        ("disable", (), []),
        ("reset", (), ["HEALTHY"]),
    ):
        shown = cli.ok(verb, "operated", target, *more, "--wait", "100%", "--timeout", "20s")
        number = revision(shown)
        assert f"revision {number}: 1 of 1 affected Envoys acknowledged it" in shown
        assert [*envoy.endpoints("operated").values()] == states, verb
        assert cli.json("get", "revisions", number)["delivery"]["acknowledged"] == 1
    many = [{"host": "127.0.0.1", "port": port} for port in range(1, 60)]
    number = revision(cli.ok("apply", "-f", "-", stdin=document("many", targets=many)))
    assert cli.run("delete", "upstream", "many", "--wait", "100%").returncode == 3, "nothing to wait for"
    assert "1 of 1 affected Envoys acknowledged it" in cli.ok("confirm", number + 1, "--wait", "95%")
    for gone in (("target", "operated", target), ("upstream", "operated")):
        assert "1 of 1 affected Envoys acknowledged it" in cli.ok("delete", *gone, "--wait", "100%")
    assert "operated" not in envoy.clusters()


def test_waiting_for_it(cli: CommandLine, envoy: EnvoyProcess) -> None:
    said = cli.ok("apply", "-f", "-", "--wait", "100%", stdin=document("waited"))
    number = revision(said)
    assert said.startswith(
        f"revision {number}: upstream waited added\nrevision {number}: 1 of 1 affected Envoys acknowledged it"
    )
    assert envoy.endpoints("waited") == {"127.0.0.1:9": "HEALTHY"}
    envoy.suspend()
    try:
        done = cli.run("apply", "-f", "-", "--wait", "95", "--timeout", "500ms", stdin=document("waited", timeout="1s"))
    finally:
        envoy.resume()
    assert done.returncode == 1
    assert "edge-1 has not acknowledged it: Cluster" in done.stderr
    assert f"revision {number + 1} is in force, but 0 of 1 affected Envoys acknowledged it" in done.stderr
    done = cli.run("rollback", number, "--wait", "100%")
    assert done.stdout.startswith(f"revision {number + 2}: back to revision {number}: upstream waited changed\n"), done
    assert "1 Envoy\n" in cli.ok("apply", "-f", "-", "--dry-run", stdin=document("waited-more"))


def test_what_it_refuses_leads_to_the_field(cli: CommandLine, envoy: EnvoyProcess) -> None:
    cli.ok("apply", "-f", "-", "--wait", "100%", stdin=document("refused"))
    tls = {"ca_file": MISSING, "sni": "a.internal"}
    done = cli.run("apply", "-f", "-", "--wait", "100%", stdin=document("refused", tls=tls))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("xds-server: edge-1 rejected its ")
    assert f"(upstream refused, tls.ca_file): Invalid path: {MISSING}" in first
    number = revision(done.stdout)
    assert second.startswith(f"xds-server: revision {number} is in force, but 0 of 1 affected Envoys acknowledged it")
    (row,) = cli.rows("get", "nodes")
    assert row["STATUS"] == "NACKED"
    states = {row["REVISION"]: row["STATE"] for row in cli.rows("history", "--limit", 2)}
    assert states == {str(number): "degraded", str(number - 1): "applied"}
    assert f"edge-1 rejects it (upstream refused, tls.ca_file): Invalid path: {MISSING}" in cli.ok("explain", "refused")
    assert cli.json("explain", "waited")["rejected"] == []
    cli.ok("rollback", number - 1, "--wait", "100%")
    assert {row["STATE"] for row in cli.rows("history", "--limit", 2)} == {"applied"}, "until it is mended"


def test_tokens_and_roles(command_line: Callable[..., CommandLine], tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    anybody = command_line("127.0.0.1:1")
    reader, operator = (
        anybody.ok("token", "create", f"the-{role}", "--role", role, "--store", store).strip()
        for role in ("read", "operate")
    )
    with XdsServerProcess(store=store) as server:
        cli = command_line(server.http_address)
        assert cli.refused("history").endswith("; give a token with --token or XDS_SERVER_TOKEN")
        cli.ok("history", "--token", reader)
        cli = command_line(server.http_address, XDS_SERVER_TOKEN=operator)
        said = cli.refused("apply", "-f", "-", stdin=document("by-a-token"))
        assert "write" in said
        assert operator not in said
        assert cli.refused("drain", "nobody", "10.0.0.1:80") == "there is no upstream 'nobody'"
