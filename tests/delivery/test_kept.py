"""What is kept of an upstream while its targets change, and that nothing stale is ever kept: every field is changed."""

from collections import Counter
from typing import Any

import golden
import pytest
from definitions import change, upstream
from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.delivery import compiled
from xds_server.delivery.audience import EVERYONE
from xds_server.delivery.compiled import NotServableError, compile_upstream
from xds_server.delivery.kept import Kept, differ_in_targets_alone
from xds_server.delivery.publisher import Publisher
from xds_server.upstreams.model import RawCluster, Upstream
from xds_server.upstreams.recent import Recent
from xds_server.upstreams.translate import Addresses, Dialect, cluster_resource
from xds_server.xds import CLUSTER, Resource

CASES = [(one, case.addresses) for case in map(golden.read, golden.names()) for one in case.document.upstreams]
FIELDS = [field for field in Upstream.model_fields if field != "name"]
WRITTEN: dict[str, list[Any]] = {
    field: list({repr(value): value for one, _ in CASES if (value := getattr(one, field)) is not None}.values())
    for field in FIELDS
}
"""Of each field, everything that a golden case says of it."""
WRITTEN["envoy"] += [
    {"alt_stat_name": "a"},
    {"per_connection_buffer_limit_bytes": 1},
    {"per_connection_buffer_limit_bytes": 1.0},
    {"per_connection_buffer_limit_bytes": True},
    {"per_connection_buffer_limit_bytes": "1"},
    RawCluster(b""),
]
WRITTEN["description"] += ["other words"]
WRITTEN["labels"] += [{"team": "a"}]
ENVOYS = [dialect for dialect in Dialect if dialect.is_envoys]


def made(one: Upstream, addresses: Addresses, dialect: Dialect, recent: Recent[Kept] | None) -> tuple[Any, ...]:
    """What it becomes, byte by byte, or why it becomes nothing."""
    try:
        found = compile_upstream(one, addresses, dialect, served=True, recent=recent)
    except NotServableError as error:
        return ("refused", str(error))
    except (AssertionError, ValueError) as error:  # of combinations that no definition can have
        return ("impossible", str(error))
    parts = [(each.type_url, each.name, each.version, each.body, each.references) for each in found.resources]
    return (parts, found.virtual_host, found.warnings, found.nearest_first)


def test_the_cases_say_something_of_every_field() -> None:
    assert {field: len(values) > 1 for field, values in WRITTEN.items()} == dict.fromkeys(FIELDS, True)


@pytest.mark.parametrize("field", FIELDS)
def test_a_change_of_any_field_is_no_less_than_from_scratch(field: str) -> None:
    for one, addresses in CASES:
        for value in WRITTEN[field][:10]:
            recent: Recent[Kept] = Recent()
            made(one, addresses, Dialect.ADS, recent)
            changed = one.model_copy(update={field: value})
            assert made(changed, addresses, Dialect.ADS, recent) == made(changed, addresses, Dialect.ADS, None)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ENVOYS),
            st.sampled_from(FIELDS).flatmap(lambda field: st.tuples(st.just(field), st.sampled_from(WRITTEN[field]))),
        ),
        max_size=12,
    ),
    st.sampled_from(CASES),
)
def test_one_change_after_the_other_is_what_it_is_from_scratch(
    steps: list[tuple[Dialect, tuple[str, Any]]], case: tuple[Upstream, Addresses]
) -> None:
    one, addresses = case
    recent: Recent[Kept] = Recent()
    for dialect, (field, value) in steps:
        one = one.model_copy(update={field: value})
        assert made(one, addresses, dialect, recent) == made(one, addresses, dialect, None)


def test_what_differs_to_the_letter_differs() -> None:
    one = Upstream.model_validate(upstream("a", envoy={"per_connection_buffer_limit_bytes": 1}))
    for other in ({"per_connection_buffer_limit_bytes": True}, {"per_connection_buffer_limit_bytes": 1.0}):
        assert one.envoy == other
        changed = one.model_copy(update={"envoy": other})
        assert not differ_in_targets_alone(one, changed)
        recent: Recent[Kept] = Recent()
        made(one, {}, Dialect.ADS, recent)
        assert made(changed, {}, Dialect.ADS, recent) == made(changed, {}, Dialect.ADS, None)
    assert differ_in_targets_alone(one, Upstream.model_validate(upstream("a", "10.0.0.1", envoy={**one.envoy})))  # type: ignore[dict-item]


async def test_a_cluster_is_translated_once_however_often_its_targets_change(monkeypatch: pytest.MonkeyPatch) -> None:
    count: Counter[str] = Counter()

    def counted(one: Upstream, dialect: Dialect) -> Resource:
        count[one.name] += 1
        return cluster_resource(one, dialect)

    monkeypatch.setattr(compiled, "cluster_resource", counted)
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1"), upstream("b", "10.0.0.1")))
    assert count == {"a": 1, "b": 1}
    for number in range(2, 12):
        await publisher.apply(change(upstream("a", f"10.0.0.{number}")))
    assert count == {"a": 2, "b": 1}, "what was never changed is not remembered"
    await publisher.apply(change(upstream("a", "10.0.0.12", connect_timeout="9s")))
    assert count == {"a": 3, "b": 1}
    snapshot = publisher.server.snapshot(EVERYONE.name)
    assert snapshot is not None
    assert snapshot.get(CLUSTER, "a") == cluster_resource(Upstream.model_validate(upstream("a", connect_timeout="9s")))
