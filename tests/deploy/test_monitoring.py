"""What deploy/prometheus and deploy/grafana ask for is what a real control plane exports, and Prometheus understands it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.envoy

OF_PROMETHEUS = {"job", "instance", "le", "quantile"}
"""Labels that it adds itself, or that histograms always have."""
_SERIES = re.compile(r"\b(xds_server_\w+)(?:\{([^}]*)\})?")
_CHOICE = re.compile(r"label_values\((xds_server_\w+), ?(\w+)\)")
_VARIABLE = re.compile(r"\$\{?(\w+)")
_GROUPED = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


def labels_asked_for(expression: str) -> set[str]:
    grouped = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")}
    matched = {
        match for _, inside in _SERIES.findall(expression) for match in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)
    }
    return (grouped | matched) - OF_PROMETHEUS


def complaints(expression: str, exported: dict[str, set[str]]) -> Iterator[str]:
    """What a query asks for that is not there."""
    series = {name for name, _ in _SERIES.findall(expression)}
    for name in series - exported.keys():
        yield f"no series {name}"
    known = set().union(*(exported.get(name, set()) for name in series))
    for label in labels_asked_for(expression) - known:
        yield f"no label {label}"


def rules(root: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((root / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / "deploy" / "grafana" / "dashboard.json").read_text())
    return loaded


def queries(root: Path) -> list[str]:
    return [target["expr"] for panel in dashboard(root)["panels"] for target in panel["targets"]]


def choices(root: Path) -> list[dict[str, Any]]:
    """The dashboard's variables whose values Prometheus is asked for."""
    return [each for each in dashboard(root)["templating"]["list"] if each["type"] == "query"]


def test_every_alert_asks_for_what_is_exported(root: Path, exported: dict[str, set[str]]) -> None:
    for rule in rules(root):
        if rule["alert"] != "XdsServerDown":  # of `up`, which is Prometheus' own
            assert _SERIES.search(rule["expr"])
        assert list(complaints(rule["expr"], exported)) == [], rule["alert"]


def test_every_query_of_the_dashboard_asks_for_what_is_exported(root: Path, exported: dict[str, set[str]]) -> None:
    assert len(queries(root)) > 20
    for query in queries(root):
        assert _SERIES.search(query), query
        assert list(complaints(query, exported)) == [], query


def test_every_choice_of_the_dashboard_is_of_what_is_exported(root: Path, exported: dict[str, set[str]]) -> None:
    """Of a series that every control plane has, and a label that it or Prometheus gives."""
    assert choices(root)
    for choice in choices(root):
        asked = _CHOICE.fullmatch(choice["query"]["query"])
        assert asked is not None, choice
        series, label = asked.groups()
        assert list(complaints(f"sum by ({label}) ({series})", exported)) == [], choice["name"]


def test_every_variable_of_the_dashboard_is_defined_and_used(root: Path) -> None:
    loaded = dashboard(root)
    defined = {each["name"] for each in loaded["templating"]["list"]}
    used = set(_VARIABLE.findall(json.dumps(loaded)))
    assert {name for name in used if not name.startswith("__")} == defined


def test_what_is_not_exported_is_found(exported: dict[str, set[str]]) -> None:
    assert list(complaints('sum by (kind) (rate(xds_server_nodes_total{color="red", job="x"}[5m]))', exported)) != []
    assert list(complaints("sum by (colour) (xds_server_nodes)", exported)) == ["no label colour"]
    assert list(complaints('xds_server_nodes{type="Cluster"}', exported)) == ["no label type"]


def test_the_dashboard_shows_whatever_else_there_is_to_see(root: Path, exported: dict[str, set[str]]) -> None:
    """A new metric goes into the dashboard or into this list."""
    left_out = {"virtual_memory_bytes", "start_time_seconds", "open_fds", "max_fds"}
    text = json.dumps(dashboard(root)) + json.dumps(rules(root))
    shown = {name for name, _ in _SERIES.findall(text)}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported}
    seen = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    unseen = {name for name in families if name not in seen and name + "_total" not in seen}
    assert unseen == {f"xds_server_process_{name}" for name in left_out}


def test_panels_are_described_and_do_not_overlap(root: Path) -> None:
    panels = dashboard(root)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = set()
    for panel in panels:
        assert panel["title"], panel
        assert panel["description"], panel
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & mine, panel["title"]
        assert all(x < 24 for x, _ in mine)
        cells |= mine


def test_prometheus_takes_the_rules_and_raises_each_alert_for_its_reason(root: Path, promtool: str) -> None:
    directory = root / "deploy" / "prometheus"
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, cwd=directory)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = (directory / "rules.test.yaml").read_text()
    for rule in rules(root):
        assert tested.count(rule["alert"]) >= 2, f"{rule['alert']}: at least once silent, once raised"


def test_prometheus_understands_every_query_of_the_dashboard(root: Path, promtool: str, tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "5m") for query in queries(root)]
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(asked)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", "--lint=none", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
