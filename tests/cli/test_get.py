"""`get`: what a running server has, for people, for pipes and for programs."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import COMMAND, CommandLine
from fake_api import FakeApi, fake_api

from xds_server.cli import tables
from xds_server.upstreams.yaml_text import read_yaml
from xds_server.upstreams.yaml_writer import write_yaml

Commands = Callable[..., CommandLine]


def apply(cli: CommandLine, *upstreams: dict[str, Any], gateways: Any = ()) -> None:
    cli.ok("apply", "-f", "-", stdin=json.dumps({"upstreams": [*upstreams], "gateways": [*gateways]}))


def target(number: int = 1, port: int = 80, **more: Any) -> dict[str, Any]:
    return {"host": f"10.0.0.{number}", "port": port, **more}


def test_upstreams(cli: CommandLine) -> None:
    a = {"name": "get-a", "algorithm": "maglev", "labels": {"get": "a", "b": "c"}, "targets": [target(), target(2)]}
    apply(cli, a, {"name": "get-b", "labels": {"get": "b"}})
    cli.ok("drain", "get-a", "10.0.0.2:80")
    (row,) = cli.rows("get", "upstreams", "get-a")
    assert row.pop("REVISION").isdecimal()
    assert row == {
        "NAME": "get-a",
        "ALGORITHM": "maglev",
        "TARGETS": "2",
        "OVERRIDDEN": "1 of 2",
        "LABELS": "b=c,get=a",
        "ORIGIN": "api",
    }
    assert [row["NAME"] for row in cli.rows("get", "upstreams")] == ["get-a", "get-b"]
    assert [row["NAME"] for row in cli.rows("get", "upstreams", "-l", "get=b")] == ["get-b"]
    assert cli.rows("get", "upstreams", "--label", "get=a", "--label", "b=x") == []
    assert cli.json("get", "upstreams", "get-a") == {"upstreams": [a]}
    for name in ("get", "get-", "get-a1", "GET-A"):
        assert cli.refused("get", "upstreams", name) == f"there is no upstream {name!r}"


def test_what_is_got_can_be_applied(cli: CommandLine) -> None:
    # Labels that YAML 1.2 takes for other things than text, unless they are in quotes.
    odd = {
        "name": "odd",
        "labels": {"commit": "12e45", "on": "0o10", "x": "1:30", "y": "~", "z": "é\nb"},
        "targets": [],
    }
    apply(cli, odd, gateways=[{"name": "odd-g", "port": 10004, "upstream": "odd"}])
    for output in ("yaml", "json"):
        for kind in ("upstreams", "gateways"):
            text = cli.ok("get", kind, "-o", output)
            assert "nothing had to change" in cli.ok("apply", "-f", "-", stdin=text)
    assert cli.rows("get", "gateways", "odd-g")[0]["ADDRESS"] == "0.0.0.0:10004"
    cli.ok("delete", "gateway", "odd-g")


@pytest.mark.parametrize(
    "text", ["12e45", "0x1f", "1:30", "no", "", "~", "9" * 401, "<<", ".inf", "x: y", "\x1b[2J", "1"]
)
def test_yaml_is_read_as_it_was_meant(text: str) -> None:
    data = {"text": text, f"key {text}": [text, 1, 1.5, True, None]}
    assert read_yaml(write_yaml(data)).data == data


def test_targets(cli: CommandLine) -> None:
    place = {"locality": {"region": "eu", "zone": "eu-1a"}}
    balanced = {"algorithm": "weighted-round-robin", "labels": {"t": "1"}}
    apply(cli, {"name": "t-a", "targets": [target(1, weight=3, **place), target(2, priority=1)], **balanced})
    apply(cli, {"name": "t-b", "targets": [{"host": "fd00::1", "port": 80, "state": "disabled"}]})
    cli.ok("weight", "t-a", "10.0.0.2:80", 5)
    rows = [row for row in cli.rows("get", "targets") if row["UPSTREAM"].startswith("t-")]
    assert [list(row.values())[:6] for row in rows] == [
        ["t-a", "10.0.0.1:80", "enabled", "3", "0", "eu/eu-1a"],
        ["t-a", "10.0.0.2:80", "enabled", "5", "1", ""],
        ["t-b", "[fd00::1]:80", "disabled", "1", "0", ""],
    ]
    assert rows[0]["NOTE"] == ""
    newest = cli.json("history", "--limit", 1)[0]["revision"]
    assert rows[1]["NOTE"] == f"weight laid over by revision {newest}"
    assert [row["TARGET"] for row in cli.rows("get", "targets", "t-b")] == ["[fd00::1]:80"]
    assert {row["UPSTREAM"] for row in cli.rows("get", "targets", "-l", "t=1")} == {"t-a"}
    (first, second) = cli.json("get", "targets", "t-a")
    assert (first["upstream"], first["weight"], second["override"]) == ("t-a", 3, {"weight": 5})
    assert cli.refused("get", "targets", "t-nobody") == "there is no upstream 't-nobody'"


def test_everything_comes_however_many_there_are(cli: CommandLine) -> None:
    names = [f"crowd-{n:04}" for n in range(1001)]
    apply(cli, *({"name": name, "labels": {"crowd": ""}, "targets": [target()]} for name in names))
    assert [row["NAME"] for row in cli.rows("get", "upstreams", "-l", "crowd=")] == names
    assert [row["UPSTREAM"] for row in cli.rows("get", "targets", "-l", "crowd=")] == names


def test_revisions(cli: CommandLine) -> None:
    apply(cli, {"name": "rev-a"})
    newest = cli.json("get", "revisions", "--limit", 1)[0]
    shown = yaml.safe_load(cli.ok("get", "revisions", newest["revision"]))
    assert shown["changes"] == [{"kind": "upstream", "name": "rev-a", "action": "added"}]
    assert cli.json("get", "revisions", newest["revision"]) == shown
    assert "there is no revision '99999'" in cli.refused("get", "revisions", 99999)
    assert "Invalid value" in cli.refused("get", "revisions", "x", code=2)


NODES = {
    "nodes": [
        {
            "id": "edge-1",
            "cluster": "edge",
            "locality": {"region": "eu", "zone": "eu-1a"},
            "version": "1.40.0",
            "connected": True,
            "status": "NACKED",
            "types": {
                "type.googleapis.com/envoy.config.route.v3.RouteConfiguration": {"status": "SYNCED"},
                "type.googleapis.com/envoy.config.cluster.v3.Cluster": {"status": "NACKED", "detail": "no"},
                "type.googleapis.com/made.up.v3.Other": {},
            },
        },
        {"id": "evil\x1b[2J\t[bold]x\n", "types": None},
        {"id": "edge-2", "locality": "us", "connected": False, "types": {"endpoints": "STALE"}},
    ],
    "next": None,
}


def test_nodes_with_whatever_a_server_says_of_them(command_line: Commands) -> None:
    one = NODES["nodes"][0]  # type: ignore[index]
    with fake_api({"/v1/nodes": NODES, "/v1/nodes/edge%2F1": one}) as fake:
        cli = command_line(fake.address)
        rows = cli.rows("get", "nodes")
        assert rows[0] == {
            "NODE": "edge-1",
            "CLUSTER": "edge",
            "LOCALITY": "eu/eu-1a",
            "VERSION": "1.40.0",
            "CONNECTED": "yes",
            "STATUS": "NACKED",
            "CLUSTERS": "NACKED",
            "ENDPOINTS": "",
            "ROUTES": "SYNCED",
            "OTHER": "",
        }
        assert rows[1]["NODE"] == r"evil\x1b[2J\t[bold]x\n", "what an Envoy calls itself is text"
        assert (rows[2]["LOCALITY"], rows[2]["CONNECTED"], rows[2]["ENDPOINTS"]) == ("us", "no", "STALE")
        assert cli.json("get", "nodes") == NODES["nodes"]
        assert cli.json("get", "nodes", "edge/1") == one
        assert yaml.safe_load(cli.ok("get", "nodes", "edge/1")) == one
        assert "there is no" not in cli.refused("get", "nodes", "edge-9")


def test_a_drain_that_ended_counts_as_disabled() -> None:
    one = {
        "target": "a:1",
        "state": "draining",
        "drain_until": "2026-01-01T00:00:00Z",
        "override": {"state": "draining"},
    }
    before, after = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert tables.state(one, before) == "draining"
    assert tables.state(one, after) == "disabled"
    assert tables.notes(one, before)[0] == "draining until 2026-01-01T00:00:00Z"
    assert tables.notes(one, after)[0] == "draining ended 2026-01-01T00:00:00Z"


@contextmanager
def watching(cli: CommandLine, *args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *args, "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.env
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_watch_in_a_pipe_says_what_is_new(cli: CommandLine) -> None:
    apply(cli, {"name": "watched", "targets": [target()]})
    with watching(cli, "get", "targets", "watched", "-o", "json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())[0]["state"] == "enabled"
        cli.ok("drain", "watched", "10.0.0.1:80")
        assert json.loads(process.stdout.readline())[0]["state"] == "draining"
        process.send_signal(2)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def read_again(fake: FakeApi, process: subprocess.Popen[str]) -> None:
    """Wait until a command has asked twice more."""
    said = len(fake.asked)
    while len(fake.asked) < said + 2:
        assert process.poll() is None
        time.sleep(0.01)


def test_watch_goes_on_when_the_server_is_away(command_line: Commands) -> None:
    with fake_api({"/v1/upstreams/a/targets": {"targets": []}}) as fake:
        cli = command_line(fake.address)
        with watching(cli, "get", "targets", "a") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith("UPSTREAM\t")
            read_again(fake, process)
            fake.answers["/v1/upstreams/a/targets"] = (503, '{"detail": "Not now"}')
            assert process.stderr.readline() == "xds-server: Not now\n"
            read_again(fake, process)
            fake.answers["/v1/upstreams/a/targets"] = {"targets": [{"target": "b:1", "state": "enabled"}]}
            assert process.stdout.readline() == "\n"
            assert process.stdout.readline().startswith("UPSTREAM\t")
            assert process.stdout.readline().startswith("a\tb:1\tenabled")
            process.kill()
            assert process.stderr.read() == "", "once is enough"
    assert "cannot reach" in cli.refused("get", "targets", "a", "--watch")


def test_the_formats_that_there_are(cli: CommandLine, tmp_path: Path) -> None:
    assert "'xml' is not one of table, yaml, json" in cli.refused("get", "upstreams", "-o", "xml", code=2)
    assert "'table' is not one of yaml, json" in cli.refused("confirm", 1, "-o", "table", code=2)
    apply(cli, {"name": "table-a"})
    lines = cli.ok("get", "upstreams", "table-a", "-o", "table").splitlines()
    assert lines[0].split() == ["NAME", "ALGORITHM", "TARGETS", "OVERRIDDEN", "LABELS", "ORIGIN", "REVISION"]
    assert lines[1].index("api") == lines[0].index("ORIGIN"), "columns stand below each other"
    assert yaml.safe_load(cli.ok("history", "-o", "yaml", "--limit", 1))[0]["revision"]
