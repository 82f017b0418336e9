"""Overrides over a definition: what is laid over the last result is what it is from scratch, and costs what changed."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.catalog.overrides import TargetOverride, impossible, lay, overridden
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.model.upstream import contradictions

TARGETS = 4
STATES = st.sampled_from(["enabled", "disabled", "unhealthy"])
OVERRIDE = st.fixed_dictionaries({}, optional={"state": STATES, "weight": st.integers(0, 3)}).map(
    TargetOverride.model_validate
)
OVERRIDES = st.dictionaries(st.sampled_from([f"10.0.0.{n}:80" for n in range(TARGETS + 2)]), OVERRIDE)
ALGORITHMS = st.sampled_from(["round-robin", "random", "weighted-round-robin", "least-connections", "maglev"])


def upstream(algorithm: str = "weighted-round-robin", **fields: Any) -> Upstream:
    targets = [{"host": f"10.0.0.{n}", "port": 80, **fields} for n in range(TARGETS)]
    return Upstream.model_validate({"name": "a", "algorithm": algorithm, "targets": targets})


@settings(max_examples=150, deadline=None)
@given(ALGORITHMS, st.lists(st.tuples(OVERRIDES, st.booleans()), min_size=1, max_size=5))
def test_one_after_the_other_is_what_they_are_from_scratch(
    algorithm: str, steps: list[tuple[dict[str, TargetOverride], bool]]
) -> None:
    below, before, there = upstream(algorithm), None, dict[str, TargetOverride]()
    for said, is_anew in steps:
        if is_anew:
            below, there = upstream(algorithm, weight=2), {}
        there = there | said
        before = lay(below, there, before)
        assert before.whole == overridden(below, there)
        assert (before.whole is below) == (overridden(below, there) is below)
        assert not [*contradictions(before.whole)]
        there = {key: each for key, each in there.items() if each.says_anything}


@settings(max_examples=150, deadline=None)
@given(ALGORITHMS, OVERRIDES)
def test_what_cannot_be_is_what_contradicts_itself(algorithm: str, overrides: dict[str, TargetOverride]) -> None:
    below = upstream(algorithm)
    weights = {key: each.weight for key, each in overrides.items() if each.weight is not None}
    targets = tuple(
        target.model_copy(update={"weight": weights.get(target.key, target.weight)}) for target in below.targets
    )
    assert impossible(below, overrides) == [*contradictions(below.model_copy(update={"targets": targets}))]


def test_what_is_said_as_before_is_the_same_object() -> None:
    below = upstream()
    overrides = {f"10.0.0.{n}:80": TargetOverride(weight=n + 2) for n in range(TARGETS)}
    before = lay(below, overrides)
    after = lay(below, {**overrides, "10.0.0.1:80": TargetOverride(weight=9)}, before)
    same = [one is other for one, other in zip(before.whole.targets, after.whole.targets, strict=True)]
    assert same == [True, False, True, True]
    assert lay(below, overrides, before).whole is before.whole
    assert lay(below, {}, before).whole is below
