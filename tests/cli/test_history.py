"""`history`, `diff`, `rollback`, `confirm`, and what `--wait` says of who has a revision."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from command_line import CommandLine
from fake_api import fake_api

Commands = Callable[..., CommandLine]


def apply(cli: CommandLine, name: str, *ports: int, **more: Any) -> int:
    targets = [{"host": "10.0.0.1", "port": port} for port in ports]
    document = {"upstreams": [{"name": name, "targets": targets, **more}]}
    answer = json.loads(cli.ok("apply", "-f", "-", "-o", "json", "-m", f"{name}!", stdin=json.dumps(document)))
    return int(answer["revision"])


def test_history_is_a_list_of_who_when_and_why(cli: CommandLine) -> None:
    first = apply(cli, "h-a", 80)
    second = apply(cli, "h-a", 80, 81)
    found = cli.json("history")
    assert [one["revision"] for one in found] == [*range(second, 0, -1)]
    assert {"revision", "message", "author", "time"} <= found[0].keys()
    assert (found[0]["message"], found[0]["author"]) == ("h-a!", "local")
    assert found == cli.json("get", "revisions")
    row = cli.rows("history")[1]
    assert (row["REVISION"], row["MESSAGE"], row["STATE"], row["SOURCE"]) == (str(first), "h-a!", "applied", "api")
    done = cli.run("history", "--limit", 1, "-o", "json")
    assert len(json.loads(done.stdout)) == 1
    assert f"older revisions than {second} are not shown" in done.stderr


def test_differences_of_one_revision_and_between_two(cli: CommandLine) -> None:
    first = apply(cli, "d-a", 80)
    second = apply(cli, "d-a", 81)
    apply(cli, "d-b", 80)
    assert cli.ok("diff", second).splitlines() == [
        "upstream d-a: changed, endpoints, 0 Envoys",
        " name: d-a",
        " targets:",
        " - host: 10.0.0.1",
        "-  port: 80",
        "+  port: 81",
    ]
    said = cli.ok("diff", first, second + 1)
    assert [line for line in said.splitlines() if line[0] not in "+- "] == [
        "upstream d-a: changed, endpoints, 0 Envoys",
        "upstream d-b: added, 0 Envoys",
    ]
    assert "+  port: 80" in cli.ok("diff", second, first)
    done = cli.run("diff", first, first)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "xds-server: nothing differs\n")
    assert cli.json("diff", second)["changes"][0]["name"] == "d-a"
    assert "there is no revision '99999': those from 1 to " in cli.refused("diff", 99999)
    apply(cli, "d-a", 81, description="words")
    assert cli.ok("diff", second + 2).startswith("upstream d-a: changed, nothing in Envoy\n")


def test_back_to_what_was(cli: CommandLine) -> None:
    good = apply(cli, "back", 80)
    apply(cli, "back", 81, 80)
    cli.ok("drain", "back", "10.0.0.1:80")
    number = cli.json("history", "--limit", 1)[0]["revision"]
    said = cli.ok("rollback", good, "-m", "81 was wrong")
    assert said == f"revision {number + 1}: back to revision {good}: upstream back changed\n"
    newest = cli.rows("history", "--limit", 1)[0]
    assert newest["MESSAGE"] == f"81 was wrong (of revision {good})"
    assert [(one["target"], one["state"]) for one in cli.json("get", "targets", "back")] == [
        ("10.0.0.1:80", "draining")
    ]
    again = cli.ok("rollback", good)
    assert again == f"nothing had to change: revision {number + 1} says the same\n"
    said = cli.ok("rollback", good, "--with-overrides")
    assert said.endswith(": override back/10.0.0.1:80 removed\n")
    assert cli.rows("get", "targets", "back")[0]["STATE"] == "enabled"
    assert "there is no revision '99999'" in cli.refused("rollback", 99999)
    assert f"revision {good} does not wait to be confirmed" in cli.refused("confirm", good)


MADE = {"revision": 7, "changed": True, "state": "applied", "changes": [], "warnings": []}
REJECTED = {
    "node": "edge-1",
    "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "detail": "no such file: /ca.pem",
    "culprits": ["pay"],
    "upstreams": [{"kind": "upstream", "name": "payments", "field": "tls.ca_file"}],
}


@pytest.mark.parametrize("command", ["apply", "rollback"])
def test_waiting_says_who_has_it_and_who_has_not(command_line: Commands, command: str) -> None:
    path = {"apply": "/v1/apply", "rollback": "/v1/revisions/3/rollback"}[command]
    args = {"apply": ("apply", "-f", "-"), "rollback": ("rollback", 3)}[command]
    with fake_api({path: MADE}) as fake:
        cli = command_line(fake.address)

        def run(wait: Any, *more: object) -> Any:
            fake.answers[path] = MADE | wait
            return cli.run(*args, *more, stdin="upstreams: []")

        done = run({"wait": {"ok": True, "detail": "3 of 3 Envoys have it"}}, "--wait", "95%", "--timeout", "1m")
        assert done.returncode == 0
        assert done.stdout.endswith("revision 7: 3 of 3 Envoys have it\n")
        assert "wait=95&timeout=60000ms" in fake.asked[-1].path
        done = run({"wait": {"ok": True, "warm": 2}}, "--wait", "100")
        assert done.stdout.endswith("revision 7: enough Envoys acknowledged it, 2 of them warm\n")
        wait = {
            "ok": False,
            "detail": "1 of 3 Envoys acknowledged it within 30 s",
            "rejected": [REJECTED],
            "pending": [{"node": "edge-2", "what": "endpoints of payments"}, {"node": "edge\x1b[2J"}],
        }
        done = run({"wait": wait}, "--wait", "100%")
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "xds-server: edge-1 rejected its Cluster (upstream payments, tls.ca_file): no such file: /ca.pem",
            "xds-server: edge-2 has not acknowledged it: endpoints of payments",
            r"xds-server: edge\x1b[2J has not acknowledged it",
            "xds-server: revision 7 is in force, but 1 of 3 Envoys acknowledged it within 30 s",
        ]
        done = run({"wait": wait}, "--wait", "100%", "-o", "json")
        assert (done.returncode, json.loads(done.stdout)["wait"]) == (1, wait)
        done = run({}, "--wait", "100%")
        assert done.returncode == 1
        assert "the server does not say who has acknowledged it" in done.stderr
        assert run({}).returncode == 0
        assert "wait=" not in fake.asked[-1].path
        for wrong in ("101%", "all", "-5", "5%%"):
            assert "is not a share" in cli.refused(*args, "--wait", wrong, code=2)
        assert "--timeout: '30' is not a duration" in cli.refused(*args, "--wait", "5", "--timeout", "30", code=2)
