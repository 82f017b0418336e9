"""What is forgotten takes nothing with it: every state from the oldest revision that is kept on can be had exactly."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select
from stores import START, Model, said

from xds_server.catalog.store import retention
from xds_server.catalog.store.store import Store
from xds_server.catalog.store.tables import changes, current, revisions

NAMES = st.sampled_from("abcd")
COMMIT = st.tuples(
    st.dictionaries(NAMES, st.none() | st.sampled_from("xyz"), max_size=3), st.sampled_from(["applied"] * 3 + ["held"])
)
PRUNE = st.tuples(st.integers(1, 12), st.integers(0, 24))
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(walk=st.lists(COMMIT | PRUNE, max_size=25), step=st.sampled_from([500, 2]))
@settings(max_examples=15, deadline=None, suppress_health_check=SLOW, derandomize=True)
def test_every_state_that_is_kept_can_be_had_exactly(store: Store, step: int, walk: list[object]) -> None:
    with store.engine.begin() as connection:
        for table in (revisions, changes, current):
            connection.execute(delete(table))
    model = Model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "STEP", step)
        for each in walk:
            match each:
                case (dict() as made, str() as state):
                    model.commit(store, made, state)  # type: ignore[arg-type]
                case (int() as keep, int() as hours):
                    model.prune(store, keep, hours)
                    agrees(store, model)
        agrees(store, model)


def agrees(store: Store, model: Model) -> None:
    head, held = store.load()
    assert (head, said(held)) == (model.head, model.states[-1])
    kept = [*range(model.oldest, model.head + 1)]
    assert [each.number for each in reversed(store.revisions(most=1000))] == kept
    assert [each.revision.number for each in store.since(0, 1000)] == kept
    for number in kept:
        assert said(store.state_at(number)) == model.states[number], number
    if model.oldest > 1:
        assert said(store.state_at(model.oldest - 1)) == model.states[model.oldest - 1], "what the oldest one changed"
        assert store.revision(model.oldest - 1) is None


def test_nothing_is_kept_for_nobody(store: Store) -> None:
    """What remains of forgotten revisions is one change for each record that is in force."""
    model = Model()
    for turn in range(40):
        model.commit(store, {"a": str(turn), "b": None if turn % 2 else "x"}, "held" if turn % 5 == 0 else "applied")
    assert store.prune(keep=1, newer_than=START) == 39
    model.oldest = 40
    agrees(store, model)
    with store.engine.connect() as connection:
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (revisions, current, changes)
        ]
    assert counts == [1, 1, 4], "of each record what the last one changed, and what was said before it"


def test_the_newest_revision_stays_however_old(store: Store) -> None:
    model = Model()
    for turn in range(3):
        model.commit(store, {"a": str(turn)})
    assert store.prune(keep=10, newer_than=START + timedelta(days=365)) == 2
    assert store.prune(keep=10, newer_than=START + timedelta(days=365)) == 0
    assert [each.number for each in store.revisions()] == [3]


def test_what_is_held_is_forgotten_as_all_else(store: Store) -> None:
    model = Model()
    model.commit(store, {"a": "1"})
    model.commit(store, {"a": None}, "held")
    model.commit(store, {"b": "1"})
    assert store.prune(keep=1, newer_than=START) == 2
    assert said(store.load()[1]) == said(store.state_at(3)) == {"a": "1", "b": "1"}
