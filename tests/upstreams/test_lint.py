"""What is legal and will surprise: each lint where it belongs, and not where it does not."""

from pathlib import Path
from typing import Any

import pytest

from xds_server.upstreams.documents import locate
from xds_server.upstreams.lint import MOST_PROBES, RULES, TOGETHER, Lint, lint
from xds_server.upstreams.model import Problem, Upstream
from xds_server.upstreams.model.base import Location

ACTIVE: dict[str, Any] = {"active": {}}
PASSIVE: dict[str, Any] = {"passive": {}}
BOTH: dict[str, Any] = {"active": {}, "passive": {}}


def upstream(*targets: dict[str, Any], name: str = "u", **fields: Any) -> Upstream:
    given = [{"host": f"10.0.0.{number}", "port": 80, **target} for number, target in enumerate(targets, 1)]
    return Upstream.model_validate({"name": name, "targets": given, **fields})


def passive(percent: int, **more: Any) -> dict[str, Any]:
    return {"passive": {"max_ejection_percent": percent}, **more}


def locally(**passive: Any) -> dict[str, Any]:
    return {"passive": {"consecutive_local_errors": 3, **passive}}


ONE: tuple[dict[str, Any], ...] = ({},)
TWO: tuple[dict[str, Any], ...] = ({}, {})
THREE: tuple[dict[str, Any], ...] = ({}, {}, {})
WITH_BACKUP: tuple[dict[str, Any], ...] = ({}, {}, {"priority": 1})
PERCENT: Location = ("health_checks", "passive", "max_ejection_percent")
LOCAL: Location = ("health_checks", "passive", "consecutive_local_errors")
ONE_HOST: dict[str, Any] = {"outlier_detection": {"always_eject_one_host": True}}

SURPRISING: list[tuple[str, Location, Upstream]] = [
    ("no-enabled-target", ("targets",), upstream({"state": "draining"}, {"weight": 0})),
    ("failover-without-checks", ("targets", 2, "priority"), upstream(*WITH_BACKUP)),
    ("failover-out-of-reach", PERCENT, upstream(*WITH_BACKUP, health_checks=passive(60))),
    ("ejection-never", PERCENT, upstream(*THREE, health_checks=passive(33))),
    ("ejection-never", PERCENT, upstream(*ONE, health_checks=BOTH)),
    ("ejection-never", PERCENT, upstream({"host": "a.example"}, health_checks=passive(0))),
    (
        "ejection-never",
        PERCENT,
        upstream(*TWO, health_checks=BOTH, envoy={"outlierDetection": {"maxEjectionPercent": 40}}),
    ),
    ("one-bad-url", PERCENT, upstream(*TWO, health_checks=PASSIVE, on_all_unhealthy="fail")),
    ("one-bad-url", PERCENT, upstream(*ONE, health_checks=PASSIVE, on_all_unhealthy="fail")),
    ("one-bad-url", PERCENT, upstream(*TWO, health_checks=passive(100, active={}))),
    (
        "one-bad-url",
        ("envoy", "outlier_detection", "always_eject_one_host"),
        upstream(*THREE, health_checks=BOTH, envoy=ONE_HOST),
    ),
    ("last-target-ejected", PERCENT, upstream(*TWO, health_checks=BOTH)),
    ("last-target-ejected", PERCENT, upstream(*THREE, health_checks=passive(67, active={}))),
    ("ejection-of-the-only-target", ("health_checks", "passive"), upstream(*ONE, health_checks=PASSIVE)),
    ("timeouts-uncounted", LOCAL, upstream(*TWO, health_checks=locally())),
    ("timeouts-uncounted", LOCAL, upstream(*TWO, health_checks=locally(failure_percentage={}))),
    (
        "panic-too-early",
        ("on_all_unhealthy",),
        upstream(*({},) * 150, health_checks=ACTIVE, failover="proportional", on_all_unhealthy="send-all"),
    ),
    (
        "weights-across-priorities",
        ("targets", 0, "weight"),
        upstream({"weight": 3}, {"priority": 1}, algorithm="weighted-round-robin", health_checks=ACTIVE),
    ),
    ("hash-on-ignored", ("hash_on",), upstream(*ONE, hash_on=[{"path": True}])),
    ("probe-ignored", ("targets", 1, "health_check"), upstream({}, {"health_check": {"disabled": True}})),
    (
        "no-pending-requests",
        ("limits", "max_pending_requests"),
        upstream(*ONE, limits={"max_pending_requests": 0}),
    ),
    ("connections-below-targets", ("limits", "max_connections"), upstream(*THREE, limits={"max_connections": 2})),
    ("connections-below-targets", ("limits", "max_connections"), upstream(*ONE, limits={"max_connections": 0})),
]

UNSURPRISING: list[Upstream] = [
    upstream(),
    upstream(*TWO),
    upstream({}, {"state": "draining"}, {"weight": 0}),
    upstream(*WITH_BACKUP, health_checks=ACTIVE),
    upstream(*WITH_BACKUP, health_checks=PASSIVE),
    upstream(*WITH_BACKUP, health_checks=BOTH),
    upstream(*WITH_BACKUP, health_checks=passive(67)),
    upstream(*WITH_BACKUP, health_checks=passive(60), failover="proportional"),
    upstream({}, {"priority": 1, "state": "disabled"}),
    upstream(*THREE, health_checks=passive(34)),
    upstream(*THREE, health_checks=BOTH),
    upstream(*TWO, health_checks=BOTH, on_all_unhealthy="send-all"),
    upstream(*TWO, health_checks=passive(50), on_all_unhealthy="fail"),
    upstream({"host": "a.example"}, health_checks=passive(10)),
    upstream(*TWO, health_checks=passive(100, active={}), on_all_unhealthy="send-all"),
    upstream(*TWO, health_checks=PASSIVE, envoy=ONE_HOST),
    upstream(*TWO, health_checks=locally(failure_percentage={"threshold": 50})),
    upstream(*TWO, health_checks=locally(success_rate={})),
    upstream(*TWO, health_checks=locally(), protocol="tcp"),
    upstream(*({},) * 99, health_checks=ACTIVE, failover="proportional", on_all_unhealthy="send-all"),
    upstream(*({},) * 150, health_checks=ACTIVE, on_all_unhealthy="send-all"),
    upstream({"weight": 3}, {}, {"priority": 1}, algorithm="weighted-round-robin", health_checks=ACTIVE),
    upstream(*ONE, algorithm="maglev", hash_on=[{"path": True}]),
    upstream({"health_check": {"port": 81}}, health_checks=ACTIVE),
    upstream(*ONE, limits={"max_pending_requests": 0}, protocol="http2"),
    upstream(*TWO, limits={"max_connections": 2}),
    upstream(*TWO, limits={"max_connections": 0}, protocol="tcp"),
]


@pytest.mark.feature("Lints", "each says where, what happens and why, and what to do about it")
@pytest.mark.parametrize(
    ("code", "location", "given"), SURPRISING, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_surprises(code: str, location: Location, given: Upstream) -> None:
    (found,) = lint([given])
    assert (found.upstream, found.code, found.location) == ("u", code, location)
    assert found.message
    assert found.fix


@pytest.mark.parametrize("given", UNSURPRISING, ids=range(len(UNSURPRISING)))
def test_what_does_not(given: Upstream) -> None:
    assert lint([given]) == []


def test_a_lint_reads_like_a_problem() -> None:
    shown = Lint("u", ("targets", 2, "priority"), "code", "this happens", "do that")
    assert (shown.field, str(shown)) == ("targets[2].priority", "this happens; do that [code]")


def test_one_target_in_two_upstreams_with_other_probes() -> None:
    one = upstream(*TWO, name="one", health_checks=ACTIVE)
    other = upstream(*THREE, name="other", health_checks={"active": {"path": "/other"}})
    (found,) = lint([one, other])
    assert (found.upstream, found.code, found.location) == ("other", "probed-differently", ("targets", 0))
    assert "'one'" in found.message
    assert lint([one, upstream(*THREE, name="same", health_checks=ACTIVE)]) == []
    assert lint([one, upstream(*THREE, name="none")]) == []
    probes = {"active": {"path": "/other"}}
    a = upstream({}, name="a", health_checks=ACTIVE, nodes={"clusters": ["a"]})
    b = upstream({}, name="b", health_checks=probes, nodes={"clusters": ["b"]})
    assert lint([a, b]) == [], "no Envoy has both"


def test_an_upstream_is_told_of_another_once() -> None:
    ones = [upstream({}, name=f"u{n}", health_checks={"active": {"interval": f"{n + 1}s"}}) for n in range(50)]
    assert len(lint(ones)) == 49


def test_probes_of_a_fleet() -> None:
    small = upstream(*TWO, name="small", health_checks=ACTIVE)
    large = upstream(
        *({},) * 100, {"state": "disabled"}, {"health_check": {"disabled": True}}, name="large", health_checks=ACTIVE
    )
    # 100 + 2 targets, each every 5 s.
    assert lint([small]) == []
    (found,) = (each for each in lint([small, large], envoys=50) if each.code == "many-probes")
    assert (found.upstream, found.field) == ("large", "health_checks.active.interval")
    assert "1,020 probes per second" in found.message
    assert "1,000 of them" in found.message
    assert MOST_PROBES == 1_000
    assert [each.code for each in lint([small, large], envoys=49)] == []


def test_limits_of_a_fleet() -> None:
    limited = upstream(*TWO, limits={"max_connections": 100, "max_requests": 7})
    assert lint([limited]) == []
    (found,) = lint([limited, upstream(name="other")], envoys=10)
    assert found.code == "limits-per-envoy"
    assert "max_connections 1,000, max_requests 70" in found.message


def test_lints_are_in_the_order_of_the_definitions() -> None:
    many = [upstream(*ONE, name=name, hash_on=[{"path": True}]) for name in "cab"]
    assert [each.upstream for each in lint(many)] == ["c", "a", "b"]


def test_where_a_lint_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    place = Problem(("upstreams", 0, "targets", 1, "priority"), "late"), Problem(("upstreams", 0), "early")
    path.write_text("upstreams:\n- name: a\n  targets:\n  - {host: a, port: 1}\n  - host: b\n    priority: 1\n")
    shown = [f"{path}:2: upstreams[0]: early", f"{path}:6: upstreams[0].targets[1].priority: late"]
    assert [str(each) for each in locate(path, place)] == shown
    path.unlink()
    assert [each.line for each in locate(path, place)] == [0, 0], "it was removed meanwhile"


def test_every_code_is_in_the_docs(root: Path) -> None:
    text = (root / "docs" / "lints.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip(" *†`") for line in text.splitlines() if line.startswith("| `")]
    others = {"probed-differently", "many-probes", "limits-per-envoy", "short-ttl", "srv-weights-ignored"}
    assert sorted(rows) == sorted({code for code, _, _ in SURPRISING} | others)
    features = (root / "docs" / "features.md").read_text(encoding="utf-8")
    assert [code for code in rows if f"\n| {code}: " not in features] == [], "shown to say what happens"


def test_every_rule_is_tried() -> None:
    """A rule that never says anything in these tests is not tested."""
    for rule in RULES:
        assert any([*rule(given)] for _, _, given in SURPRISING), rule
    assert len(TOGETHER) == 3
