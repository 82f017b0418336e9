"""Lints about what host names resolve to: where they belong, and not where they do not."""

from typing import Any

import pytest

from xds_server.resolvers import Answer, SrvAddress
from xds_server.upstreams.lint_names import RULES, lint_names
from xds_server.upstreams.model import Upstream

PUBLIC = "8.8.8.8"
NAMED = {"host": "a.example", "port": 443}
OF_SRV = {"host": "b.example", "port": "srv"}


def upstream(*targets: dict[str, Any], **fields: Any) -> Upstream:
    return Upstream.model_validate({"name": "u", "targets": targets, **fields})


def srv(*weights: int, priority: int = 1) -> list[SrvAddress]:
    return [SrvAddress(priority, weight, "c.example", f"10.0.0.{weight}", 80) for weight in weights]


@pytest.mark.parametrize(
    ("given", "answer", "lints"),
    [
        (upstream(NAMED), Answer((PUBLIC,), 60), True),
        (upstream(NAMED), Answer(("10.0.0.1", PUBLIC), 1), True),
        (upstream(NAMED), Answer(("2001:4860:4860::8888",), 1), True),
        (upstream(NAMED), Answer((PUBLIC,), 61), False),
        (upstream(NAMED), Answer((PUBLIC,), 0), False),  # of the hosts file
        (upstream(NAMED), Answer(("10.0.0.1", "fd00::1"), 1), False),
        (upstream(NAMED, resolve="envoy"), Answer((PUBLIC,), 1), False),
        (upstream(NAMED, OF_SRV), Answer((PUBLIC,), 1), False),  # which Envoy cannot resolve
    ],
)
def test_short_ttls(given: Upstream, answer: Answer, lints: bool) -> None:
    found = lint_names(given, {"a.example": answer})
    assert [(each.code, each.field) for each in found] == [("short-ttl", "targets[0].host")] * lints
    assert all("resolve: envoy" in each.fix for each in found)


def test_a_name_that_nothing_is_known_of_is_no_surprise() -> None:
    given = upstream({"host": "10.0.0.1", "port": 1}, NAMED)
    assert lint_names(given, {}) == []
    assert [each.field for each in lint_names(given, {"a.example": Answer((PUBLIC,), 1)})] == ["targets[1].host"]


@pytest.mark.parametrize(
    ("algorithm", "records", "lints"),
    [
        ("round-robin", srv(1, 3), True),
        ("random", srv(1, 3), True),
        ("weighted-round-robin", srv(1, 3), False),
        ("round-robin", srv(2), False),
        ("round-robin", [*srv(1), *srv(3, priority=2)], False),
    ],
)
def test_weights_of_srv_records(algorithm: str, records: list[SrvAddress], lints: bool) -> None:
    found = lint_names(upstream(OF_SRV, algorithm=algorithm), {"b.example:srv": Answer(tuple(records), 60)})
    assert [(each.code, each.field) for each in found] == [("srv-weights-ignored", "targets[0].port")] * lints
    assert all("(1, 3)" in each.message for each in found)


def test_every_rule_is_tried() -> None:
    assert len(RULES) == 2
