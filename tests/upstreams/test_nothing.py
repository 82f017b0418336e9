"""A field that is named and has no value: an unfinished `tls:` must not mean plain text."""

import json

import pytest

from xds_server.upstreams.documents import DefinitionFile, parse
from xds_server.upstreams.model import Upstream


def told(text: str, path: str = "f.yaml") -> list[str]:
    result = parse(text.encode(), path)
    return [] if isinstance(result, DefinitionFile) else [str(problem) for problem in result]


OR_LEAVE = ", or leave the field out"


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ("tls:", "tls", "{} for the defaults" + OR_LEAVE),
        ("retries: null", "retries", "{} for the defaults" + OR_LEAVE),
        ("limits: ~", "limits", "{} for the defaults" + OR_LEAVE),
        ("slow_start:", "slow_start", "its fields" + OR_LEAVE),
        ("on_all_unhealthy:", "on_all_unhealthy", "a value" + OR_LEAVE),
        ("timeout:", "timeout", "a value" + OR_LEAVE),
        ("limits: {max_connections: }", "limits.max_connections", "a value" + OR_LEAVE),
        ("labels: {a: }", "labels.a", "a value" + OR_LEAVE),
        ("labels:", "labels", "{} for the defaults" + OR_LEAVE),
        ("targets:", "targets", "[] for none" + OR_LEAVE),
        ("targets: [{host: a, port: }]", "targets[0].port", "a value"),
        ("targets: [{host: a, port: 1}, ~]", "targets[1]", "its fields, or remove the entry"),
        ("hostnames: [~]", "hostnames[0]", "a value, or remove the entry"),
        ("envoy:", "envoy", "{} for the defaults" + OR_LEAVE),
        # What contradicts the missing value is not told: there may be one.
        ("tls:\n  protocol: auto", "tls", "{} for the defaults" + OR_LEAVE),
    ],
)
def test_nothing_is_one_problem_at_its_line(fields: str, place: str, words: str) -> None:
    assert told(f"upstreams:\n- name: a\n  {fields}\n") == [
        f"f.yaml:3: upstreams[0].{place}: nothing is written here: write {words}"
    ]


def test_each_nothing_is_told() -> None:
    text = "upstreams:\n- name: a\n  health_checks:\n    active:\n    passive:\ngateways:\n- {name: g, port: 1, upstream: }\n"
    assert [line.partition(": nothing")[0] for line in told(text)] == [
        "f.yaml:4: upstreams[0].health_checks.active",
        "f.yaml:5: upstreams[0].health_checks.passive",
        "f.yaml:7: gateways[0].upstream",
    ]


def test_null_in_json() -> None:
    text = json.dumps({"upstreams": [{"name": "a", "tls": None}]}, indent=1)
    assert [line.partition(": nothing")[0] for line in told(text, "f.json")] == ["f.json:5: upstreams[0].tls"]


def test_an_unknown_field_without_a_value_is_unknown() -> None:
    (line,) = told("upstreams:\n- name: a\n  algoritm:\n")
    assert "unknown field" in line


def test_under_envoy_null_is_a_value() -> None:
    result = parse(b"upstreams: [{name: a, envoy: {outlier_detection: , filters: [~]}}]", "f.yaml")
    assert isinstance(result, DefinitionFile)
    assert result.upstreams[0].value.envoy == {"outlier_detection": None, "filters": [None]}


def test_python_callers_say_none() -> None:
    assert Upstream(name="a", tls=None, retries=None).tls is None
