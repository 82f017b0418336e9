"""`apply` and `delete`: all or nothing, looked at before, and held where too much goes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import CommandLine

from xds_server.testing.server import XdsServerProcess

Commands = Callable[..., CommandLine]


def written(path: Path, *upstreams: dict[str, Any], **more: Any) -> Path:
    path.write_text(yaml.safe_dump({"upstreams": upstreams, **more}), encoding="utf-8")
    return path


def upstream(name: str, *ports: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "targets": [{"host": "10.0.0.1", "port": port} for port in ports], **more}


def test_a_tree_of_files_and_stdin_become_one_revision(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    written(tmp_path / "tree" / "a.yaml", upstream("tree-a", 80))
    (tmp_path / "tree" / "inner" / "b.json").write_text(json.dumps({"upstreams": [upstream("tree-b")]}))
    more = written(tmp_path / "c.yaml", gateways=[{"name": "tree-g", "port": 10001}])
    sources = ("-f", tmp_path / "tree", "-f", more, "-f", "-")
    said = cli.ok("apply", *sources, "-m", "all of it", stdin=json.dumps({"upstreams": [upstream("tree-d")]}))
    number = said.partition(":")[0].removeprefix("revision ")
    assert said == f"revision {number}: " + ", ".join(
        ["gateway tree-g added", "upstream tree-a added", "upstream tree-b added", "upstream tree-d added\n"]
    )
    newest = cli.json("history", "--limit", 1)[0]
    assert (str(newest["revision"]), newest["message"], newest["author"]) == (number, "all of it", "local")
    again = cli.ok("apply", *sources, stdin=json.dumps({"upstreams": [upstream("tree-d")]}))
    assert again == f"nothing had to change: revision {number} says the same\n"
    answer = json.loads(cli.ok("apply", "-f", more, "-o", "json"))
    assert (answer["revision"], answer["changed"]) == (int(number), False)


def test_every_mistake_is_told_with_its_file_and_line(cli: CommandLine, tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text(
        "upstreams:\n  - name: wrong-one\n    labels: {0: x}\n    targets:\n"
        "      - {host: 10.0.0.1, port: 70000}\n      - {host: 10.0.0.2, port: 80, wieght: 1}\n"
    )
    two = tmp_path / "two.yaml"
    two.write_text("gateways:\n  - name: wrong-g\n    port: 10002\n    upstream: wrong-nobody\n")
    # What only the text shows, and what the server finds.
    done = cli.run("apply", "-f", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    places = [line.split(": ")[:2] for line in done.stderr.splitlines()]
    assert places == [[f"{one}:3", "upstreams[0].labels"], ["xds-server", "nothing was applied"]]
    one.write_text(one.read_text().replace("0: x", "'0': 5"))
    done = cli.run("apply", "-f", tmp_path)
    places = [line.split(": ")[:2] for line in done.stderr.splitlines()]
    assert places == [
        [f"{one}:3", "upstreams[0].labels.0"],
        [f"{one}:5", "upstreams[0].targets[0].port"],
        [f"{one}:6", "upstreams[0].targets[1].wieght"],
        ["xds-server", "nothing was applied"],
    ]
    # What only shows when all is seen together.
    written(one, upstream("wrong-one"))
    done = cli.run("apply", "-f", tmp_path)
    assert done.returncode == 1
    said = f"{two}:4: gateways[0].upstream: there is no upstream 'wrong-nobody'"
    assert done.stderr == f"{said}\nxds-server: nothing was applied: 1 problem\n"
    assert "there is no upstream 'wrong-one'" in cli.refused("get", "upstreams", "wrong-one")
    assert "stdin:1: not YAML" in cli.run("apply", "-f", "-", stdin="{").stderr
    for path in (tmp_path / "missing.yaml", tmp_path / "missing"):
        assert f"{path}: cannot be read" in cli.run("apply", "-f", path).stderr


def test_a_dry_run_warns_of_what_is_beside_it(cli: CommandLine, tmp_path: Path) -> None:
    checked = [
        {"name": name, "targets": [{"host": "10.9.9.9", "port": 80}], "health_checks": {"active": {"interval": every}}}
        for name, every in (("probed-a", "5s"), ("probed-b", "6s"))
    ]
    cli.ok("apply", "-f", written(tmp_path / "a.yaml", upstreams=checked[:1]))
    done = cli.run("apply", "-f", written(tmp_path / "b.yaml", upstreams=checked[1:]), "--dry-run")
    assert done.returncode == 0
    assert (
        "upstream probed-b: targets[0]: warning: 10.9.9.9:80 is probed otherwise for upstream 'probed-a'" in done.stderr
    )


def test_a_dry_run_says_what_would_be_and_does_nothing(cli: CommandLine, tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", upstream("dry-a", 80), upstream("dry-b", 80))
    cli.ok("apply", "-f", path)
    before = cli.json("history")
    written(path, upstream("dry-a", 81, algorithm="maglev"), upstream("dry-b", 80, 81), upstream("dry-c"))
    done = cli.run("apply", "-f", path, "--dry-run", "-m", "is not kept")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[0] not in "+- "] == [
        "upstream dry-a: changed, cluster rebuild, endpoints, 0 Envoys, losing connections",
        "upstream dry-b: changed, endpoints, 0 Envoys",
        "upstream dry-c: added, 0 Envoys",
    ]
    assert {"-  port: 80", "+  port: 81", "+algorithm: maglev", "+name: dry-c"} < set(lines)
    assert done.stderr == ""
    assert cli.json("history") == before
    shown = cli.json("apply", "-f", path, "--dry-run")
    assert [change["name"] for change in shown["changes"]] == ["dry-a", "dry-b", "dry-c"]
    written(path, upstream("dry-a", 80), upstream("dry-b", 80))
    done = cli.run("apply", "-f", path, "--dry-run")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "xds-server: nothing would change\n")


def test_what_will_surprise_is_told_beside(cli: CommandLine, tmp_path: Path) -> None:
    standby = {"host": "10.0.0.2", "port": 80, "priority": 1}
    path = written(
        tmp_path / "a.yaml", {**upstream("lint", 80), "targets": [{"host": "10.0.0.1", "port": 80}, standby]}
    )
    for more in (("--dry-run",), ()):
        done = cli.run("apply", "-f", path, *more)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert line.startswith("xds-server: upstream lint: targets[1].priority: warning: ")
        assert line.endswith("[failover-without-checks]")


def test_definitions_are_deleted(cli: CommandLine, tmp_path: Path) -> None:
    gateway = {"name": "gone-g", "port": 10003}
    cli.ok("apply", "-f", written(tmp_path / "a.yaml", upstream("gone", 80, 81), gateways=[gateway]))
    assert cli.ok("delete", "target", "gone", "10.0.0.1:81").endswith(": upstream gone changed\n")
    assert [row["TARGET"] for row in cli.rows("get", "targets", "gone")] == ["10.0.0.1:80"]
    assert cli.ok("delete", "gateway", "gone-g", "-m", "moved").endswith(": gateway gone-g removed\n")
    assert cli.json("history", "--limit", 1)[0]["message"] == "moved"
    assert "there is no gateway 'gone-g'" in cli.refused("delete", "gateway", "gone-g")
    answer = cli.json("delete", "upstream", "gone")
    assert answer["changes"] == [{"kind": "upstream", "name": "gone", "action": "removed"}]
    assert cli.refused("delete", "upstream", "gone") == "there is no upstream 'gone'"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_other_addresses_are_refused(cli: CommandLine, tmp_path: Path, name: str) -> None:
    cli.ok("apply", "-f", written(tmp_path / "a.yaml", upstream("stays", 80)))
    assert cli.refused("delete", "target", "stays", name) == f"{name!r} is not a name"
    assert cli.rows("get", "upstreams", "stays")[0]["TARGETS"] == "1"


def test_a_change_that_takes_very_much_is_held_until_it_is_confirmed(tmp_path: Path, command_line: Commands) -> None:
    path = written(tmp_path / "a.yaml", *(upstream(f"many-{n}", 80) for n in range(12)))
    with XdsServerProcess() as server:
        cli = command_line(server.http_address)
        cli.ok("apply", "-f", path)
        written(path, upstream("many-0", 80))
        dry = cli.run("apply", "-f", path, "--prune", "--dry-run")
        assert dry.returncode == 0
        assert "the guard would hold it: it would remove 11 of 12 targets" in dry.stderr
        said = cli.refused("apply", "-f", path, "--prune", "--wait", "100%", code=3)
        assert said.startswith("revision 2 is held: it would remove 11 of 12 targets")
        assert "xds-server confirm 2" in said
        assert len(cli.rows("get", "upstreams")) == 12
        (newest, _) = cli.rows("history")
        assert (newest["REVISION"], newest["STATE"]) == ("2", "held")
        done = cli.run("apply", "-f", path, "--prune", "-o", "json")
        again = json.loads(done.stdout)
        assert (done.returncode, again["state"], again["revision"]) == (3, "held", 2), (
            "which is the same, so it is held once"
        )
        said = cli.ok("confirm", 2, "-m", "as planned")
        assert said.startswith(
            "revision 3: what revision 2 held is in force: upstream many-1 removed, upstream many-10 "
        )
        assert said.endswith(", and 1 more\n")
        assert [row["NAME"] for row in cli.rows("get", "upstreams")] == ["many-0"]
        assert cli.refused("confirm", 2) == "revision 2 does not wait to be confirmed: it is released"


def test_what_a_file_of_the_server_defines_is_left_to_that_file(tmp_path: Path, command_line: Commands) -> None:
    (tmp_path / "served").mkdir()
    path = written(tmp_path / "served" / "a.yaml", upstream("of-a-file", 80))
    with XdsServerProcess(path) as server:
        cli = command_line(server.http_address)
        assert cli.rows("get", "upstreams")[0]["ORIGIN"] == f"{path}:2"
        mine = written(tmp_path / "mine.yaml", upstream("of-a-file", 81))
        for args in (("apply", "-f", mine), ("delete", "upstream", "of-a-file")):
            assert f"'of-a-file' is defined in {path}: edit it there" in cli.refused(*args)
        assert "is disabled" in cli.ok("disable", "of-a-file", "10.0.0.1:80"), "operators may"
