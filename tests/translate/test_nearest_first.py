"""Priorities by where those are that ask."""

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.localities import NOWHERE, Place, nearest_first
from xds_server.xds.validation import check

NAMES = st.sampled_from(["", "eu", "us"])
TARGETS = st.lists(
    st.fixed_dictionaries(
        {
            "host": st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]),
            "port": st.integers(1, 4),
            "priority": st.sampled_from([0, 2, 128]),
            "state": st.sampled_from(["enabled", "draining", "disabled", "unhealthy"]),
            "locality": st.fixed_dictionaries({"region": NAMES, "zone": NAMES, "sub_zone": NAMES}),
        }
    ),
    unique_by=lambda target: (target["host"], target["port"]),
)


def assignment(targets: list[dict[str, Any]], **fields: Any) -> Any:
    given = {
        "name": "u",
        "localities": {"balance": "nearest"},
        "failover": "proportional",
        "targets": targets,
        **fields,
    }
    return translate.endpoints(Upstream.model_validate(given))


def place_of(group: Any) -> tuple[str, str, str]:
    return group.locality.region, group.locality.zone, group.locality.sub_zone


@settings(max_examples=200, deadline=None)
@given(TARGETS, st.builds(Place, NAMES, NAMES))
def test_every_target_is_there_and_priorities_have_no_gaps(targets: list[dict[str, Any]], place: Place) -> None:
    base = assignment(targets)
    made = nearest_first(base, place)
    priorities = [group.priority for group in made.endpoints]
    assert priorities == sorted(priorities)
    assert set(priorities) == set(range(len(set(priorities))))
    groups = [(group.priority, place_of(group)) for group in made.endpoints]
    assert len(set(groups)) == len(groups), "each locality once in a priority"
    contents = [
        [(place_of(g), [h.SerializeToString() for h in g.lb_endpoints]) for g in a.endpoints] for a in (base, made)
    ]
    assert sorted(contents[0]) == sorted(contents[1])
    assert made.cluster_name == base.cluster_name


@settings(max_examples=100, deadline=None)
@given(TARGETS)
def test_those_who_do_not_say_where_they_are_get_what_is_written(targets: list[dict[str, Any]]) -> None:
    somewhere = [target for target in targets if target["locality"]["region"]]
    assert nearest_first(assignment(somewhere), NOWHERE) == assignment(somewhere)


@pytest.mark.parametrize(
    ("place", "order"),
    [
        (Place("eu", "a"), ["eu/a", "eu/b eu/", "us/a /a /"]),
        (Place("eu", "x"), ["eu/a eu/b eu/", "us/a /a /"]),
        (Place("eu"), ["eu/a eu/b eu/", "us/a /a /"]),
        (Place("us", "a"), ["us/a", "eu/a eu/b eu/ /a /"]),
        (Place("", "a"), ["/a", "eu/a eu/b eu/ us/a /"]),
        (Place("asia", "a"), ["eu/a eu/b eu/ us/a /a /"]),
        (NOWHERE, ["eu/a eu/b eu/ us/a /a /"]),
    ],
)
def test_what_is_near(place: Place, order: list[str]) -> None:
    localities = ["eu/a", "eu/b", "eu/", "us/a", "/a", "/"]
    targets = [
        {"host": f"10.0.0.{n}", "port": 80, "locality": dict(zip(("region", "zone"), locality.split("/"), strict=True))}
        for n, locality in enumerate(localities, 1)
    ]
    made = nearest_first(assignment(targets), place)
    found: dict[int, set[str]] = {}
    for group in made.endpoints:
        found.setdefault(group.priority, set()).add("/".join(place_of(group)[:2]))
    assert found == {rank: set(names.split()) for rank, names in enumerate(order)}


def test_as_many_priorities_as_are_allowed_are_what_envoy_takes() -> None:
    zones = [{"region": "eu", "zone": "a"}, {"region": "eu", "zone": "b"}, {"region": "us"}]
    targets = [
        {"host": f"10.0.{priority}.{index}", "port": 80, "priority": priority * 3, "locality": locality}
        for priority in range(43)
        for index, locality in enumerate(zones)
    ]
    made = nearest_first(assignment(targets), Place("eu", "a"))
    assert [group.priority for group in made.endpoints] == [*range(129)]


def test_what_is_beyond_envoys_last_priority_is_one_with_it() -> None:
    base = endpoint_pb2.ClusterLoadAssignment(cluster_name="u")
    for priority in range(100):
        for region in ("eu", "us"):
            base.endpoints.add(priority=priority).locality.region = region
    made = nearest_first(base, Place("us"))
    assert [group.priority for group in made.endpoints] == [*range(129), *[128] * 71]
    assert check(made) == []
