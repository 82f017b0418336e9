"""What changes do, as told in the log. That Envoys agree is shown by tests/envoy/test_effects.py."""

from pathlib import Path
from typing import Any

from definitions import change, upstream
from structlog.testing import capture_logs

from xds_server.delivery.compiled import compile_upstream
from xds_server.delivery.effects import Effect, Effects, effects
from xds_server.delivery.publisher import Publisher
from xds_server.delivery.reports import LINES
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Dialect


def of(before: dict[str, Any], after: dict[str, Any], dialect: Dialect = Dialect.ADS) -> Effects:
    made = [compile_upstream(Upstream.model_validate(each), {}, dialect) for each in (before, after)]
    return effects(*made)


def test_every_effect_is_in_the_docs(root: Path) -> None:
    text = (root / "docs" / "changes.md").read_text(encoding="utf-8")
    assert [effect for effect in (*Effect, Effects()) if f"`{effect}`" not in text] == []


def test_what_a_rebuild_drops() -> None:
    slower = {"connect_timeout": "9s"}
    for checks, drops in (
        ({}, ("connections",)),
        ({"passive": {}}, ("connections", "ejections")),
        ({"active": {}, "passive": {}}, ("connections", "ejections", "probe results")),
    ):
        plain = upstream("a", "10.0.0.1", health_checks=checks)
        assert of(plain, {**plain, **slower}) == Effects((Effect.CLUSTER,), drops)
    assert of(upstream("a", "10.0.0.1"), upstream("a", "10.0.0.2")).drops == ()


def test_several_effects_and_none() -> None:
    plain = upstream("a", "10.0.0.1")
    both = of(plain, upstream("a", "10.0.0.2", timeout="3s"))
    assert str(both) == "cluster rebuild, routes, endpoints"
    nothing = of(plain, upstream("a", "10.0.0.1", description="words"))
    assert (bool(both), bool(nothing), str(nothing)) == (True, False, "nothing")


def test_what_comes_goes_and_moves() -> None:
    made = compile_upstream(Upstream.model_validate(upstream("a")), {})
    assert str(effects(None, made)) == "added"
    assert str(effects(made, None)) == "removed"
    assert str(effects(None, None)) == "nothing"
    assert str(effects(made, made, moved=True)) == "other nodes"


def test_resources_of_grpc_clients() -> None:
    plain = upstream("a", "10.0.0.1")
    assert str(of(plain, upstream("a", "10.0.0.1", timeout="3s"), Dialect.GRPC_CLIENT)) == "routes"
    assert str(of(plain, upstream("a", "10.0.0.2"), Dialect.GRPC_CLIENT)) == "endpoints"


async def test_each_change_is_told_once_applied() -> None:
    publisher = Publisher()
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", "10.0.0.1"), upstream("b")))
        assert logs == [], "everything is new at the start"
        await publisher.apply(change(upstream("a", "10.0.0.2"), upstream("c"), remove=("b",)))
        await publisher.apply(change(upstream("a", "10.0.0.2", nodes={"clusters": ["edge"]})))
        await publisher.apply(change(upstream("a", "10.0.0.2", envoy={"connect_timeout": "0s"})))
    told = [(log["name"], log["effect"]) for log in logs if log["event"] == "definition.applied"]
    assert told == [("a", "endpoints"), ("b", "removed"), ("c", "added"), ("a", "other nodes")]


async def test_a_change_of_everything_is_counted() -> None:
    publisher = Publisher()
    many = [f"u{number}" for number in range(LINES + 5)]
    await publisher.apply(change(*(upstream(name) for name in many)))
    with capture_logs() as logs:
        await publisher.apply(change(*(upstream(name, "10.0.0.1") for name in many)))
    assert len(logs) == LINES + 1
    assert (logs[-1]["more"], logs[-1]["effects"]) == (5, "5 endpoints")


async def test_lints_are_told_with_the_change_that_brings_them() -> None:
    publisher = Publisher()
    hashed = {"hash_on": [{"path": True}]}
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", "10.0.0.1", **hashed), upstream("b")))
        await publisher.apply(change(upstream("a", "10.0.0.2", **hashed)))
        await publisher.apply(change(upstream("a", "10.0.0.2")))
        await publisher.apply(change(upstream("a", "10.0.0.2", **hashed)))
    told = [log for log in logs if log["event"] == "definition.lint"]
    assert [(log["at"], log["name"], log["field"], log["code"]) for log in told] == [
        ("file.yaml:1", "a", "hash_on", "hash-on-ignored")
    ] * 2, "anew only after it was mended"
    with capture_logs() as logs:
        await publisher.apply(change(*(upstream(f"u{n}", "10.0.0.1", **hashed) for n in range(LINES + 5))))
    told = [log for log in logs if log["event"] == "definition.lint"]
    assert len(told) == LINES + 1
    assert "5 more" in told[-1]["problem"]
