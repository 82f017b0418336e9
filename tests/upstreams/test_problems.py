"""What is wrong with a file is told completely, at the right line, and nothing else is told."""

import json

import pytest
import yaml

from xds_server.upstreams.documents import DefinitionFile, parse


def told(text: str, path: str = "f.yaml") -> list[str]:
    result = parse(text.encode(), path)
    return [] if isinstance(result, DefinitionFile) else [str(problem) for problem in result]


def places(text: str) -> list[str]:
    """Line and field of each problem."""
    result = parse(text.encode(), "f.yaml")
    return [] if isinstance(result, DefinitionFile) else [f"{problem.line} {problem.field}" for problem in result]


FIVE = """\
upstreams:
  - name: payments
    algoritm: random
    targets:
      - {host: 10.0.0.1, port: 70000}
      - host: 10.0.0.2
    timeout: 5
  - name: orders
    targets:
      - {host: 10.0.0.3, port: 80}
      - {host: 10.0.0.3, port: 80}
"""


def test_five_mistakes_are_five_problems() -> None:
    assert told(FIVE) == [
        "f.yaml:3: upstreams[0].algoritm: unknown field 'algoritm'; did you mean 'algorithm'?",
        "f.yaml:5: upstreams[0].targets[0].port: must be at most 65535, found 70000",
        "f.yaml:6: upstreams[0].targets[1].port: this field is required",
        "f.yaml:7: upstreams[0].timeout: a duration needs its unit: write 5s or 5ms",
        "f.yaml:11: upstreams[1].targets[1]: target 10.0.0.3:80 is listed twice (see line 10)",
    ]


def test_json_has_the_same_problems() -> None:
    in_json = json.dumps(yaml.safe_load(FIVE), indent=2)
    assert [line.partition(": ")[2] for line in told(in_json, "f.json")] == [
        line.partition(": ")[2].replace("see line 10", "see line 20") for line in told(FIVE)
    ]
    lines = in_json.split("\n")
    numbers = [int(line.split(":")[1]) for line in told(in_json, "f.json")]
    assert [lines[number - 1].strip() for number in numbers] == [
        '"algoritm": "random",',
        '"port": 70000',
        "{",
        '"timeout": 5',
        "{",
    ]


@pytest.mark.parametrize(
    ("mistakes", "expected"),
    [
        # A contradiction beside a mistake of every kind: both show.
        ("name: A B\n  targets: [{host: a, port: 1}, {host: a, port: 1}]", ["2 name", "3 targets[1]"]),
        ("targets: [{host: a, port: 1}, {host: a, port: 1}]", ["2 name", "2 targets[1]"]),
        ("name: a\n  timeout: 5\n  protocol: auto", ["3 timeout", "4 protocol"]),
        ("name: a\n  zzz: 5\n  protocol: auto", ["3 zzz", "4 protocol"]),
        (
            "name: a\n  slow_start: {windw: 1s}\n  protocol: auto",
            ["3 slow_start.windw", "3 slow_start.window", "4 protocol"],
        ),
        (
            "name: a\n  protocol: tcp\n  retries: {on: [x]}\n  timeout: 1s",
            ["4 retries.on[0]", "4 retries", "5 timeout"],
        ),
        # Where items before were taken out, those after keep their numbers.
        (
            "name: a\n  targets:\n  - {host: a}\n  - {host: b, port: 1}\n  - {port: 1}\n  - {host: b, port: 1}",
            ["4 targets[0].port", "6 targets[2].host", "7 targets[3]"],
        ),
        (
            "name: a\n  targets:\n  - {host: b, port: 1, weight: -1}\n  - {host: b, port: 1}",
            ["4 targets[0].weight", "5 targets[1]"],
        ),
        # A contradiction that only the missing value makes is none.
        ("name: a\n  protocol: auto\n  tls: on", ["4 tls"]),
        ("name: a\n  protocol: auto\n  tsl: {}", ["4 tsl"]),
        ("name: a\n  tls: {cert_file: 5, key_file: x}", ["3 tls.cert_file"]),
        ("name: a\n  tls: {snj: a}\n  targets: [{host: 10.0.0.1, port: 1}]", ["3 tls.snj"]),
        ("name: a\n  health_checks: {active: {type: grcp, service: x}}", ["3 health_checks.active.type"]),
        ("name: a\n  protocol: htp2\n  health_checks: {active: {type: grpc}}", ["3 protocol"]),
        ("name: a\n  algoritm: x\n  targets: [{host: a, port: 1}, {host: b, port: 1, weight: 2}]", ["3 algoritm"]),
        ("name: a\n  algorithm: 5\n  targets: [{host: a, port: 1}, {host: b, port: 1, weight: 2}]", ["3 algorithm"]),
        ("name: a\n  targets: [{host: a, port: 1, weight: 2}, {host: b, port: 1, weigth: 2}]", ["3 targets[1].weigth"]),
        ("name: a\n  targets: [{host: a, port: 1, weight: 2}, {host: b, port: 1, weight: x}]", ["3 targets[1].weight"]),
        ("name: a\n  algorithm: maglev\n  hash_on: [{heder: x}]", ["4 hash_on[0].heder"]),
        ("name: a\n  algorithm: maglev\n  hash_on: [{cooki: x, ttl: 1s}]", ["4 hash_on[0].cooki"]),
        ("name: a\n  retries: {on: [x, y]}", ["3 retries.on[0]", "3 retries.on[1]"]),
        ("name: a\n  hostnames: [a b, A]", ["3 hostnames[0]", "3 hostnames[1]"]),
    ],
)
def test_contradictions_beside_mistakes(mistakes: str, expected: list[str]) -> None:
    found = [place.replace("upstreams[0].", "") for place in places(f"upstreams:\n- {mistakes}\n")]
    assert sorted(found) == sorted(expected)


def test_text_mistakes_and_definition_mistakes_are_told_together() -> None:
    assert places("upstreams:\n- name: a\n  name: b\n  timeout: 5\n  8080: x\n") == [
        "3 upstreams[0].name",
        "4 upstreams[0].timeout",
        "5 upstreams[0]",
    ]


def test_clashes_in_one_file_are_its_own_problems_even_beside_others() -> None:
    text = """\
upstreams:
- {name: a, hostnames: [x]}
- {name: a, timeout: 5}
- {name: b, hostnames: [x], connect_timeout: 5}
- {name: c, hostnames: [x], nodes: {clusters: 5}}
gateways:
- {name: g, port: 80}
- {name: h, port: 80, upstream: elsewhere}
"""
    assert told(text) == [
        "f.yaml:3: upstreams[1].timeout: a duration needs its unit: write 5s or 5ms",
        "f.yaml:3: upstreams[1].name: upstream 'a' is already defined at f.yaml:2",
        "f.yaml:4: upstreams[2].connect_timeout: a duration needs its unit: write 5s or 5ms",
        "f.yaml:4: upstreams[2].hostnames: 'x' is also answered by upstream 'a' at f.yaml:2",
        "f.yaml:5: upstreams[3].nodes.clusters: expected a list, found 5",
        "f.yaml:8: gateways[1].port: port 80 is already taken by gateway 'g' at f.yaml:7",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1: the file is empty: write upstreams: [] to define none"),
        ("# nothing\n", "f.yaml:1: the file is empty: write upstreams: [] to define none"),
        ("hello", "f.yaml:1: the top level must be the fields upstreams and gateways"),
        ("\n- name: a", "f.yaml:2: the top level must be the fields upstreams and gateways, not a list: "),
        ("upstreams:\n", "f.yaml:1: upstreams: expected a list, found nothing; write [] for none"),
        ("upstreams: {a: {}}", "f.yaml:1: upstreams: expected a list, found fields (name: value)"),
        ("upstreams: [5]", "f.yaml:1: upstreams[0]: expected fields (name: value), found 5"),
        ("upstream: []", "f.yaml:1: upstream: unknown field 'upstream'; did you mean 'upstreams'?"),
        ('"up\\nstreams": []', "f.yaml:1: 'up\\nstreams': unknown field 'up\\nstreams'; did you mean 'upstreams'?"),
    ],
)
def test_the_top_level(text: str, message: str) -> None:
    (problem,) = told(text)
    assert problem.startswith(message)


def test_nothing_is_told_of_what_is_right() -> None:
    assert told("upstreams: []") == []
    assert told("{}") == []
    assert told('{"gateways": []}', "f.json") == []


def test_a_problem_in_an_alias_is_told_where_it_stands() -> None:
    text = "upstreams:\n- name: a\n  retries: &r\n    attempts: 0\n- name: b\n  retries: *r\n- <<: {timeout: 5}\n  name: c\n"
    assert places(text) == [
        "4 upstreams[0].retries.attempts",
        "4 upstreams[1].retries.attempts",
        "7 upstreams[2].timeout",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "upstreams:\n" + "- x\n" * 100_000,
        "upstreams:\n- name: a\n  targets:\n" + "  - x\n" * 100_000,
        "upstreams:\n" + "".join(f"- {{name: u{n}, hostnames: [same]}}\n" for n in range(3000)),
    ],
)
def test_a_flood_of_problems_is_cut(text: str) -> None:
    problems = told(text)
    assert len(problems) == 1001
    assert problems[-1].endswith("there are more problems; mend these first")


def test_a_flood_of_keys_is_one_problem() -> None:
    keys = "".join(f"  key{n}: x\n" for n in range(20_000))
    assert told(f"upstreams:\n- name: a\n{keys}") == [
        "f.yaml:2: upstreams[0]: has more than 1000 problems, too many to tell: are these definitions?"
    ]
