"""Snapshots: what a change costs and keeps, and what tells two of them apart."""

import pytest
from scripted_client import cluster, endpoints

from xds_server.xds import CLUSTER, ENDPOINTS, Resource, Snapshot
from xds_server.xds.resource import InvalidResourceError
from xds_server.xds.snapshot import ChangeLog


def test_a_change_leaves_the_old_snapshot_as_it_was() -> None:
    old = Snapshot.of([cluster("a"), cluster("b")])
    new = old.change([cluster("c")], [(CLUSTER, "a")])
    assert sorted(old.names(CLUSTER)) == ["a", "b"]
    assert sorted(new.names(CLUSTER)) == ["b", "c"]
    assert new.touched == {CLUSTER: frozenset({"a", "c"})}


def test_a_change_to_the_same_is_no_change() -> None:
    snapshot = Snapshot.of([cluster("a")])
    assert snapshot.change([cluster("a")], [(CLUSTER, "unknown")]) is snapshot


def test_versions_depend_on_content_and_not_on_the_way_there() -> None:
    direct = Snapshot.of([cluster("a"), cluster("b")])
    detour = (
        Snapshot.of([cluster("b", 9)]).change([cluster("a"), cluster("b"), cluster("c")]).change((), [(CLUSTER, "c")])
    )
    assert direct.version(CLUSTER) == detour.version(CLUSTER)
    assert direct.version(CLUSTER) != direct.change([cluster("a", 2)]).version(CLUSTER)


def test_callers_may_give_versions_themselves() -> None:
    snapshot = Snapshot.of([cluster("a")], versions={CLUSTER: "v7"})
    assert snapshot.version(CLUSTER) == "v7"
    assert snapshot.change([cluster("b")], versions={CLUSTER: "v8"}).version(CLUSTER) == "v8"
    resource = Resource.encode(CLUSTER, "a", b"", version="mine")
    assert resource.version == "mine"


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same type and name"):
        Snapshot.of([cluster("a"), cluster("a", 2)])


def test_an_assignment_changes_with_the_cluster_that_it_covers() -> None:
    assert endpoints("a", covers="1").version != endpoints("a", covers="2").version
    assert endpoints("a", covers="1").body == endpoints("a", covers="2").body


def test_a_message_that_envoy_would_refuse_never_becomes_a_resource() -> None:
    with pytest.raises(InvalidResourceError, match="connect_timeout"):
        cluster("a", 0)


def test_the_log_finds_the_difference_between_any_two_snapshots() -> None:
    log = ChangeLog(most_changes=3)
    history = [Snapshot.of([cluster("a"), endpoints("a")])]
    log.append(history[0])
    for number in range(6):
        history.append(history[-1].change([cluster(f"c{number}")], [(CLUSTER, f"c{number - 2}")]))
        log.append(history[-1])
    assert log.difference(CLUSTER, history[5], history[6]) == (("c5",), ("c3",))
    assert log.difference(CLUSTER, history[4], history[6]) == (("c4", "c5"), ("c2", "c3"))
    # Further back than the log reaches: by full comparison.
    assert log.difference(CLUSTER, history[0], history[6]) == (("c4", "c5"), ())
    assert log.difference(ENDPOINTS, history[0], history[6]) == ((), ())
    unrelated = Snapshot.of([cluster("z")])
    assert log.difference(CLUSTER, unrelated, history[6]) == (("a", "c4", "c5"), ("z",))
