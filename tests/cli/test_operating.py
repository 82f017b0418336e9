"""What operators say of targets: over the definition, for as long as they say, seen in a real Envoy's traffic."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from fake_api import fake_api
from rig import Rig, target

from xds_server.testing import Backends

Commands = Callable[..., CommandLine]
A, B = "10.0.0.1:80", "[fd00::1]:80"


@pytest.fixture
def upstream(cli: CommandLine, request: pytest.FixtureRequest) -> str:
    name = request.node.name.partition("[")[0].replace("_", "-")
    targets = [{"host": "10.0.0.1", "port": 80, "weight": 3}, {"host": "fd00::1", "port": 80}]
    document = {"upstreams": [{"name": name, "algorithm": "weighted-round-robin", "targets": targets}]}
    cli.ok("apply", "-f", "-", stdin=json.dumps(document))
    return name


def override(cli: CommandLine, upstream: str, target: str = A) -> dict[str, Any]:
    found = next(one for one in cli.json("get", "targets", upstream) if one["target"] == target)
    return dict(found.get("override", {}))


def revision(said: str) -> str:
    return said.partition(":")[0].removeprefix("revision ")


@pytest.mark.envoy
def test_traffic_moves_with_what_operators_say(tmp_path: Path, command_line: Commands) -> None:
    with Rig(tmp_path) as rig, Backends("a", "b") as (a, b):
        cli = command_line(rig.server.http_address)
        rig.upstream("moved", target(a), target(b), algorithm="weighted-round-robin")
        rig.serves("moved", a, b)
        rig.routes("moved")
        assert rig.send("moved", 20) == {"a": 10, "b": 10}
        assert f"moved {a.address} is draining" in cli.ok("drain", "moved", a.address, "-m", "a new kernel")
        rig.serves("moved", a, b, a="DRAINING")
        assert rig.send("moved", 20) == {"b": 20}
        why = cli.ok("explain", "moved", a.address)
        assert f"{a.address}: no new requests: it is draining" in why
        assert "by local at 20" in why
        assert "a new kernel" in why
        # The file that defines it is edited below what the operator says.
        rig.upstream("moved", target(a), target(b, weight=3), algorithm="weighted-round-robin")
        rig.envoy.wait_until(lambda: "weight: 3" in cli.ok("get", "upstreams", "-o", "yaml"), 10, "the edit")
        assert rig.send("moved", 20) == {"b": 20}
        cli.ok("enable", "moved", a.address)
        rig.serves("moved", a, b)
        cli.ok("weight", "moved", a.address, 9)
        rig.envoy.wait_until(lambda: rig.send("moved", 24)["a"] == 18, 10, "3 of 4 requests at the heavier one")
        cli.ok("disable", "moved", a.address)
        rig.serves("moved", b)
        assert rig.send("moved", 20) == {"b": 20}
        # For a time only: the definition counts again afterwards.
        assert "is enabled" in cli.ok("enable", "moved", a.address)
        cli.ok("drain", "moved", b.address, "--expires", "2s")
        rig.serves("moved", a, b, b="DRAINING")
        rig.serves("moved", a, b)
        cli.ok("drain", "moved", b.address, "--for", "1500ms")
        rig.serves("moved", a)


def test_each_verb_says_what_became_of_the_target(cli: CommandLine, upstream: str) -> None:
    number = revision(said := cli.ok("disable", upstream, B, "-m", "smoke"))
    assert said == f"revision {number}: {upstream} {B} is disabled, weight 1 (state laid over by revision {number})\n"
    assert cli.json("history", "--limit", 1)[0]["message"] == "smoke"
    assert cli.ok("disable", upstream, B).startswith(f"nothing had to change: {upstream} {B} is disabled")
    said = cli.ok("weight", upstream, B, 7)
    number = revision(said)
    assert f"is disabled, weight 7 (state and weight laid over by revision {number})" in said
    assert cli.ok("enable", upstream, B).endswith(
        f" is enabled, weight 7 (weight laid over by revision {int(number) + 1})\n"
    )
    assert cli.ok("weight", upstream, B, 1).endswith(f"{upstream} {B} is enabled, weight 1\n")
    assert override(cli, upstream, B) == {}
    assert cli.json("drain", upstream, A)["changes"] == [
        {"kind": "override", "name": f"{upstream}/{A}", "action": "added"}
    ]


def test_a_drain_has_a_deadline_where_one_is_given(cli: CommandLine, upstream: str) -> None:
    before = datetime.now(UTC)
    said = cli.ok("drain", upstream, A, "--for", "10m")
    until = datetime.fromisoformat(override(cli, upstream)["drain_until"])
    assert timedelta(minutes=10, seconds=-2) <= until - before <= timedelta(minutes=11)
    assert f"draining until {override(cli, upstream)['drain_until']}" in said
    cli.ok("drain", upstream, A, "--until", "2099-01-01T01:00:00+01:00")
    assert override(cli, upstream) == {"state": "draining", "drain_until": "2099-01-01T00:00:00Z"}
    cli.ok("drain", upstream, A)
    assert override(cli, upstream) == {"state": "draining"}, "the new word has no deadline"
    cli.ok("drain", upstream, A, "--until", "2020-01-01T00:00:00Z")
    assert cli.rows("get", "targets", upstream)[0]["STATE"] == "disabled"
    cli.ok("disable", upstream, A)
    assert override(cli, upstream) == {"state": "disabled"}


def test_what_is_said_for_a_time_only(cli: CommandLine, upstream: str) -> None:
    cli.ok("drain", upstream, A, "--expires", "2099-01-01T00:00:00Z")
    cli.ok("weight", upstream, A, 5)
    assert override(cli, upstream)["expires"] == "2099-01-01T00:00:00Z", "a new weight does not make a drain last"
    assert "that expires 2099-01-01T00:00:00Z" in cli.rows("get", "targets", upstream)[0]["NOTE"]
    cli.ok("disable", upstream, A)
    assert override(cli, upstream) == {"state": "disabled", "weight": 5}, "and what is out for good does not come back"
    cli.ok("weight", upstream, B, 5, "--expires", "2h")
    left = datetime.fromisoformat(override(cli, upstream, B)["expires"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)


def test_what_was_laid_over_a_target_is_taken_back(cli: CommandLine) -> None:
    """Also where the definition says something else than `enable` would."""
    targets = [{"host": "10.0.0.1", "port": 80, "state": "draining", "weight": 3}, {"host": "fd00::1", "port": 80}]
    document = {"upstreams": [{"name": "reset", "algorithm": "weighted-round-robin", "targets": targets}]}
    cli.ok("apply", "-f", "-", stdin=json.dumps(document))
    cli.ok("enable", "reset", A)
    cli.ok("weight", "reset", A, 7, "--expires", "2h")
    assert override(cli, "reset").keys() == {"state", "weight", "expires"}
    number = revision(said := cli.ok("reset", "reset", A, "-m", "as written"))
    assert said == f"revision {number}: reset {A} is draining, weight 3\n"
    assert override(cli, "reset") == {}
    assert cli.json("history", "--limit", 1)[0]["message"] == "as written"
    assert cli.ok("reset", "reset", A).startswith("nothing had to change: ")
    assert "there is no target" in cli.refused("reset", "reset", "10.0.0.9:80")


def test_deadlines_are_by_the_clock_of_the_server(command_line: Commands) -> None:
    one = {"target": A, "state": "draining", "weight": 1}
    answers = {f"/v1/upstreams/a/targets/{A.replace(':', '%3A')}": one | {"revision": 1, "changed": True}}
    with fake_api(answers) as fake:
        fake.date = "Thu, 01 Jan 2099 00:00:00 GMT"
        command_line(fake.address).ok("drain", "a", A, "--for", "10m", "--expires", "1h")
        (patch,) = (asked for asked in fake.asked if asked.method == "PATCH")
        assert json.loads(patch.body) == {
            "state": "draining",
            "drain_until": "2099-01-01T00:10:00Z",
            "expires": "2099-01-01T01:00:00Z",
        }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("drain", "a", A, "--for", "10"), "--for: '10' is not a duration"),
        (("drain", "a", A, "--until", "tomorrow"), "--until: 'tomorrow' is not a time"),
        (("drain", "a", A, "--for", "1m", "--until", "2099-01-01T00:00:00Z"), "exclude each other"),
        (("enable", "a", A, "--expires", "2026-01-01"), "--expires: '2026-01-01' is not a time"),
        (("disable", "a", A, "--expires", "soon"), "--expires: 'soon' is not a duration"),
        (("weight", "a", A, "1000001"), "less than or equal to 1000000"),
        (("weight", "a", A), "Missing argument"),
        (("drain", "a"), "Missing argument"),
        (("drain", "a", A, "--wait", "all"), "'all' is not a share"),
    ],
)
def test_command_lines_that_mean_nothing(cli: CommandLine, args: tuple[str, ...], words: str) -> None:
    assert words in " ".join(cli.refused(*args, code=2).split())


def test_what_cannot_be_said(cli: CommandLine, upstream: str) -> None:
    said = cli.refused("drain", upstream, "10.0.0.9:80")
    assert said == f"there is no target '10.0.0.9:80' in upstream {upstream!r}; there are: {A}, {B}"
    assert cli.refused("drain", "nobody", A) == "there is no upstream 'nobody'"
    targets = [{"host": "10.0.0.1", "port": port} for port in (80, 81)]
    document = {"upstreams": [{"name": "even", "targets": targets}]}
    cli.ok("apply", "-f", "-", stdin=json.dumps(document))
    assert "weighted-round-robin" in cli.refused("weight", "even", A, 3)


def test_explain_says_why_each_target_gets_what_it_gets(cli: CommandLine) -> None:
    hosts = [("10.0.0.1", {"weight": 3}), ("10.0.0.2", {}), ("10.0.0.3", {"priority": 1}), ("10.0.0.4", {"weight": 0})]
    hosts += [("10.0.0.5", {"state": "unhealthy"}), ("10.0.0.6", {"state": "disabled"})]
    targets = [{"host": host, "port": 80, **more} for host, more in hosts]
    document = {"upstreams": [{"name": "why", "algorithm": "weighted-round-robin", "targets": targets}]}
    cli.ok("apply", "-f", "-", stdin=json.dumps(document))
    first, *lines = cli.ok("explain", "why").splitlines()
    assert first.startswith("upstream why: defined through the API, as of revision ")
    assert lines == [
        "  10.0.0.1:80: requests: 75 % (weight 3 of 4)",
        "  10.0.0.2:80: requests: 25 % (weight 1 of 4)",
        "  10.0.0.3:80: no requests as long as those of priority 0 can take them: its priority is 1",
        "  10.0.0.4:80: no new requests: its weight is 0",
        "  10.0.0.5:80: no requests: it was set to unhealthy by hand",
        "  10.0.0.6:80: no requests: it is disabled",
    ]
    number = revision(cli.ok("drain", "why", "10.0.0.1:80", "-m", "disk\nfull"))
    (_, line) = cli.ok("explain", "why", "10.0.0.1:80").splitlines()
    assert line.startswith("  10.0.0.1:80: no new requests: it is draining (state laid over by revision ")
    assert f"revision {number}, by local at " in line
    assert cli.json("explain", "why")["targets"][1]["verdict"] == "requests: 100 % (weight 1 of 1)"
    cli.ok("drain", "why", "10.0.0.2:80")
    assert "10.0.0.3:80: requests: 100 %" in cli.ok("explain", "why"), "the next priority takes over"
    assert line.endswith(": disk full)")
    document["upstreams"][0] |= {"localities": {"balance": "nearest"}, "failover": "proportional"}
    cli.ok("apply", "-f", "-", stdin=json.dumps(document))
    assert "requests, how many depends on its place and the Envoy's (weight 1)" in cli.ok("explain", "why")
    assert "there is no target '10.0.0.9:80'" in cli.refused("explain", "why", "10.0.0.9:80")
    assert cli.refused("explain", "nobody") == "there is no upstream 'nobody'"
