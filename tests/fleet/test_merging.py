"""One fleet out of several parts: nodes that are in more than one, and revisions with parts that are not known."""

from dataclasses import replace

import pytest
from joined import JoinedFleet
from scripted_client import cluster, web

from xds_server.fleet import NodeStatus, Part, Progress
from xds_server.fleet import others as others_module
from xds_server.fleet.merging import merged_node, merged_nodes, merged_progress
from xds_server.xds import CLUSTER, ENDPOINTS


class Fleet(JoinedFleet):
    """One replica."""

    def __init__(self, name: str) -> None:
        super().__init__(*web("a", "b"))
        self.fleet.name(name)

    def come_and_go(self, node: str) -> NodeStatus:
        joined = self.join(node)
        joined.want(CLUSTER)
        joined.leave()
        return self.here(node)

    def here(self, node: str = "n") -> NodeStatus:
        found = self.fleet.node(node)
        assert found is not None
        return found


def test_of_a_node_at_two_replicas_each_type_is_shown_that_is_worst_off() -> None:
    one, other = Fleet("one"), Fleet("other")
    well = one.join("n")
    well.accept(*well.want(CLUSTER), *well.want(ENDPOINTS, "a"))
    other.now += 5
    badly = other.join("n", delta=False)
    badly.accept(*badly.want(CLUSTER))
    badly.want(ENDPOINTS, "a")
    for seen in ([one.here(), other.here()], [other.here(), one.here()]):
        node = merged_node(seen)
        assert {each.type: each.status for each in node.types} == {
            "Cluster": "SYNCED",
            "ClusterLoadAssignment": "STALE",
        }
        assert (node.variant, node.replicas) == ("sotw", ("one", "other")), "as its newest stream tells"
        assert [stream.replica for stream in node.streams] == ["one", "other"], "the oldest first"
        assert node.connected_since == one.here().connected_since
        synced = next(each for each in node.types if each.type == "Cluster")
        assert synced in other.here().types, "of two that are as well off the one that was sent last"


def test_of_a_node_that_left_the_last_time_is_shown() -> None:
    one, other = Fleet("one"), Fleet("other")
    one.come_and_go("n")
    other.join("n").want(CLUSTER)
    assert merged_node([one.here(), other.here()]) == other.here(), "it is there"
    third = Fleet("third")
    third.now += 5
    third.come_and_go("n")
    assert merged_node([one.here(), third.here()]) == third.here()
    assert merged_node([third.here(), one.here()]) == third.here()


def test_every_node_is_shown_once_in_order() -> None:
    one, other = Fleet("one"), Fleet("other")
    for fleet, names in ((one, "bd"), (other, "abc")):
        for name in names:
            fleet.join(name).want(CLUSTER)
    found = merged_nodes([one.fleet.nodes(), other.fleet.nodes()])
    assert [(node.id, node.replicas) for node in found] == [
        ("a", ("other",)),
        ("b", ("one", "other")),
        ("c", ("other",)),
        ("d", ("one",)),
    ]


def progress(**said: object) -> Progress:
    counts = {"affected": 0, "acknowledged": 0, "warm": 0, "left": 0, "rejections": 0}
    made: dict[str, object] = {"revision": 1, "published": True, "pending": {}, "rejected": (), "seconds": None}
    return Progress(**{**counts, **made, **said})  # type: ignore[arg-type]


def test_counts_are_added_and_names_joined() -> None:
    one = progress(affected=3, acknowledged=1, warm=1, left=2, pending={"a": ("Cluster",), "b": ("Listener",)})
    other = progress(affected=2, acknowledged=1, rejections=0, pending={"b": ("Cluster",)}, seconds=None)
    both = merged_progress(one, [other])
    assert (both.affected, both.acknowledged, both.warm, both.left) == (5, 2, 1, 2)
    assert both.pending == {"a": ("Cluster",), "b": ("Cluster", "Listener")}
    assert merged_progress(one, []) is one


def test_it_took_as_long_as_the_slowest_once_nobody_is_left() -> None:
    fast, slow = (progress(affected=1, acknowledged=1, seconds=seconds) for seconds in (1.0, 3.0))
    assert merged_progress(fast, [slow]).seconds == 3
    assert merged_progress(fast, [progress()]).seconds == 1, "nobody is affected there"
    assert merged_progress(fast, [progress(affected=1)]).seconds is None
    assert merged_progress(fast, [slow], awaited=("other",)).seconds is None
    assert merged_progress(fast, [slow], unknown="lost").seconds is None


def test_nothing_is_reached_while_a_part_is_not_known() -> None:
    done = progress(affected=1, acknowledged=1)
    assert done.reached(100)
    assert not merged_progress(done, [], awaited=("other",)).reached(0)
    assert not merged_progress(done, [], unknown="lost").reached(0)
    assert not replace(done, published=False).reached(0)


def test_what_is_known_of_another_replica_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet("other")
    part = Part("other")
    for number in range(20):
        fleet.now += 1
        part.take([fleet.come_and_go(f"n{number}")], [])
    fleet.join("stays").want(CLUSTER)
    part.take([fleet.here("stays")], [])
    part.forget(fleet.now - 4.5)
    assert list(part.nodes) == ["n15", "n16", "n17", "n18", "n19", "stays"]
    monkeypatch.setattr(others_module, "MOST_DEPARTED", 2)
    part.forget(0)
    assert list(part.nodes) == ["n18", "n19", "stays"]
    monkeypatch.setattr(others_module, "MOST_ROLLOUTS", 3)
    revisions = [fleet.publish(cluster("web-1", 2 + number)) for number in range(5)]
    part.take([], filter(None, (fleet.fleet.own_progress(revision, 1) for revision in revisions)))
    assert list(part.rollouts) == revisions[2:]


def test_few_of_many_pending_nodes_are_named() -> None:
    fleet = Fleet("one")
    for number in range(9):
        here = fleet.join(f"n{number}")
        here.accept(*here.want(CLUSTER))
    told = fleet.fleet.own_progress(fleet.publish(cluster("web-1", 7)), 3)
    assert told is not None
    assert (told.affected, told.pending) == (9, dict.fromkeys(("n0", "n1", "n2"), ("Cluster",)))


def test_a_page_of_nodes_is_made_of_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Fleet("one"), Fleet("other")
    for name in ("a", "c", "d"):
        one.join(name).want(CLUSTER)
    elsewhere = [other.come_and_go("c"), other.come_and_go("b")]
    one.fleet.others.take({"other": Part("other", nodes={status.id: status for status in elsewhere})})
    everything = one.fleet.nodes()
    assert [status.id for status in everything] == ["a", "b", "c", "d"]
    assert one.fleet.nodes_after("", 4) == one.fleet.nodes_after("", 9) == everything
    made: list[str] = []
    known = one.fleet.own_node
    monkeypatch.setattr(one.fleet, "own_node", lambda node_id: made.append(node_id) or known(node_id))
    assert one.fleet.nodes_after("a", 2) == everything[1:3]
    assert made == ["b", "c"], "what is not shown is not made"
    one.now += others_module.REMEMBERED + 1
    assert [status.id for status in one.fleet.nodes_after("", 9)] == ["a", "c", "d"], "b left too long ago"


def test_who_rejects_something_is_found_among_all() -> None:
    one, other = Fleet("one"), Fleet("other")
    for fleet, names in ((one, ("a", "bad")), (other, ("b", "worse", "gone"))):
        for name in names:
            joined = fleet.join(name)
            answers = joined.want(CLUSTER)
            if name in ("a", "b"):
                joined.accept(*answers)
            else:
                joined.reject(*answers)
            if name == "gone":
                joined.leave()
    one.fleet.others.take({"other": Part("other", nodes={status.id: status for status in other.fleet.nodes()})})
    expected = [status for status in one.fleet.nodes() if status.connected and status.rejects]
    assert [status.id for status in expected] == ["bad", "worse"]
    assert one.fleet.rejecting() == expected
