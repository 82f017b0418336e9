"""What is remembered beyond one stream: what a NACK leaves behind, and the snapshots of late; and the rescue of the stuck."""

from typing import Any

import pytest
from coming_and_going import ComingAndGoing as Node
from coming_and_going import stuck
from scripted_client import cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Limits, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import MOST_CHANGED, PAST, Group
from xds_server.xds.memory import Memory
from xds_server.xds.ordering import BREAK_WAIT
from xds_server.xds.sotw import SotwStream


def test_D20_what_a_rejected_response_left_behind_is_taken_away_on_the_next_stream() -> None:
    node = Node(DeltaStream)
    first = node.connect()
    first.publish(Snapshot.of([cluster("good"), cluster("left-behind")]))
    (answer,) = first.ask(CLUSTER)
    first.nack(answer)
    first.stream.close()
    node.group.publish(Snapshot.of([cluster("good")]))
    second = node.connect()
    # The client applied what was good of it, and does not tell of it.
    sent = second.ask(CLUSTER, held={}) + second.sent(after=BREAK_WAIT)
    assert [name for answer in sent for name in answer.removed_resources] == ["left-behind"]
    for answer in sent:
        second.ack(answer)
    second.stream.close()
    third = node.connect()
    assert [list(answer.removed_resources) for answer in third.ask(CLUSTER) + third.sent(after=9)] == [[]]
    assert len(node.memory) == 0, "settled, and so forgotten"


def test_D20_it_is_said_again_until_it_is_acknowledged() -> None:
    node = Node(DeltaStream)
    first = node.connect()
    first.publish(Snapshot.of([cluster("x"), cluster("y")]))
    first.nack(first.ask(CLUSTER)[0])
    first.stream.close()
    node.group.publish(Snapshot.of([cluster("x")]))
    for _ in range(2):  # cut off before it could answer
        cut = node.connect()
        assert "y" in [n for answer in cut.ask(CLUSTER) + cut.sent(after=9) for n in answer.removed_resources]
        cut.stream.close()


def test_D20_of_named_types_nothing_is_remembered_to_be_removed() -> None:
    node = Node(DeltaStream)
    first = node.connect()
    first.publish(Snapshot.of([endpoints("x")]))
    first.nack(first.ask(ENDPOINTS, "x")[0])
    first.stream.close()
    node.group.publish(Snapshot.of())
    second = node.connect()
    assert [list(answer.removed_resources) for answer in second.ask(ENDPOINTS, "z")] == [["z"]]
    assert second.sent(after=9) == []


def test_D20_P20_the_memory_is_bounded_and_forgets_the_oldest_node() -> None:
    memory = Memory(most_names=100)
    for number in range(50):
        memory.note(f"node-{number}", CLUSTER, [f"c{i}" for i in range(10)])
    assert len(memory) == 100
    assert memory.recall("node-0", CLUSTER) == frozenset()
    assert len(memory.recall("node-49", CLUSTER)) == 10
    memory.settle("node-49", CLUSTER, [f"c{i}" for i in range(10)])
    assert len(memory) == 90
    memory.note("node-48", CLUSTER, ["c0"])
    assert len(memory) == 90


def test_S56_a_client_that_comes_back_keeps_what_its_routes_still_use() -> None:
    node = Node(SotwStream)
    first = node.connect()
    settled(first, *web("old", "kept"), listener("l"), routes("r", "old"))
    version = node.group.snapshot.version(CLUSTER) if node.group.snapshot else ""
    first.stream.close()
    # While it is away, traffic moves from one cluster to another.
    node.group.publish(Snapshot.of([*web("new", "kept"), listener("l"), routes("r", "new")]))
    second = node.connect()
    (clusters,) = second.ask(CLUSTER, version=version)
    assert names_of(clusters) == ["kept", "new", "old"]
    for answer in second.ask(ENDPOINTS, "new", "kept", "old"):
        second.ack(answer, "new", "kept", "old")
    second.ack(clusters)
    for answer in second.ask(LISTENER):
        second.ack(answer)
    (moved,) = second.ask(ROUTES, "r")
    (reduced, *_) = second.ack(moved, "r")
    assert (reduced.type_url, names_of(reduced)) == (CLUSTER, ["kept", "new"])


def test_S67_S70_a_version_that_is_not_known_is_answered_in_full() -> None:
    node = Node(SotwStream)
    node.group.publish(Snapshot.of([cluster("a")]))
    client = node.connect()
    assert [names_of(answer) for answer in client.ask(CLUSTER, version="of another time")] == [["a"]]


def test_S56_a_group_remembers_so_many_snapshots_and_no_more() -> None:
    group = Group("g")
    snapshots = [Snapshot.of([cluster("a", seconds)]) for seconds in range(1, PAST + 3)]
    for snapshot in snapshots:
        group.publish(snapshot)
    assert group.past(CLUSTER, snapshots[-1].version(CLUSTER)) is snapshots[-1]
    found = group.past(CLUSTER, snapshots[2].version(CLUSTER))
    assert found is not None
    assert list(found) == list(snapshots[2])
    assert group.past(CLUSTER, snapshots[1].version(CLUSTER)) is None
    for number in range(2 * PAST):  # changes of other types push none of them out
        snapshots.append(snapshots[-1].change([endpoints("a", number + 1)]))
        group.publish(snapshots[-1])
    assert group.past(CLUSTER, snapshots[2].version(CLUSTER)) is not None


def test_S56_and_so_many_changes_between_them() -> None:
    group = Group("g")
    first = Snapshot.of([cluster("a")])
    group.publish(first)
    group.publish(first.change([cluster(f"c{i}") for i in range(MOST_CHANGED)]))
    assert group.past(CLUSTER, first.version(CLUSTER)) is None


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_B32_an_envoy_that_never_asks_for_clusters_is_sent_them(kind: Any) -> None:
    node = Node(kind)
    node.group.publish(Snapshot.of(web("a", "b")))
    client = stuck(node)
    (first,) = client.sent()
    client.ack(first, *(() if client.delta else "a"))
    assert client.sent(after=9.9) == []
    clusters, assignment = client.sent(after=0.2)
    assert (clusters.type_url, names_of(clusters)) == (CLUSTER, ["a", "b"])
    assert (assignment.type_url, names_of(assignment)) == (ENDPOINTS, ["a"]), "S57: the cluster will want it again"
    # It takes them, and from then on it is served as any other.
    assert client.ack(clusters) == []
    client.change(cluster("c"))
    assert [names_of(answer) for answer in client.sent()] == [["c"] if client.delta else ["a", "b", "c"]]


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_one_that_does_not_answer_is_not_flooded(kind: Any) -> None:
    node = Node(kind)
    node.group.publish(Snapshot.of(web("a")))
    client = stuck(node)
    client.sent()
    client.sent(after=10)
    sent = []
    for seconds in range(2, 52):
        client.change(cluster("a", seconds))
        sent += [answer for answer in client.sent(after=0.5) if answer.type_url == CLUSTER]
    assert len(sent) <= 3


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_others_are_not_rescued(kind: Any) -> None:
    for agent, limits in (("gRPC C-core", Limits()), ("envoy", Limits(rescue_after=0))):
        node = Node(kind, limits)
        node.group.publish(Snapshot.of(web("a")))
        client = stuck(node, agent)
        assert [answer.type_url for answer in client.sent()] == [ENDPOINTS]
        assert client.sent(after=100) == []


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_one_that_asks_in_time_is_not_rescued(kind: Any) -> None:
    node = Node(kind)
    node.group.publish(Snapshot.of(web("a")))
    client = stuck(node)
    client.sent()
    client.sent(after=5)
    (clusters, *_) = client.ask(CLUSTER)
    client.ack(clusters)
    assert [a.type_url for a in client.sent(after=100)] in ([], [ENDPOINTS])
    assert client.sent(after=100) == []


def test_S71_D18_a_rescued_client_that_asks_at_last_is_told_what_to_drop() -> None:
    node = Node(DeltaStream)
    node.group.publish(Snapshot.of(web("a")))
    client = stuck(node)
    client.sent()
    client.sent(after=10)
    sent = client.ask(CLUSTER, held={"a": "", "long-gone": "1"}) + client.sent(after=BREAK_WAIT)
    assert ["long-gone"] in [list(answer.removed_resources) for answer in sent]


def test_S55_what_a_client_may_hold_or_not_is_waited_for_like_what_is_new() -> None:
    node = Node(DeltaStream)
    first = node.connect()
    first.publish(Snapshot.of(web("a")))
    first.ask(CLUSTER)
    first.stream.close()  # it was sent "a", and never said that it has it
    node.group.publish(Snapshot.of([listener("l"), routes("r")]))
    second = node.connect()
    for type_url, *names in ((CLUSTER,), (ENDPOINTS, "a"), (LISTENER,), (ROUTES, "r")):
        for answer in second.ask(type_url, *names):
            second.ack(answer)
    second.change(*web("a"), routes("r", "a"))
    assert ROUTES not in [answer.type_url for answer in second.sent()]


def test_D20_a_full_set_that_was_rejected_may_have_taken_something_away() -> None:
    node = Node(SotwStream)
    first = node.connect()
    first.publish(Snapshot.of([listener("l")]))
    (held,) = first.ask(LISTENER)
    first.ack(held)
    first.change(remove=((LISTENER, "l"),))
    (empty,) = first.sent(after=3)
    first.nack(empty, version=held.version_info)  # and dropped "l" all the same
    first.stream.close()
    node.group.publish(Snapshot.of([listener("l")]))
    (answer,) = node.connect().ask(LISTENER, version=held.version_info)
    assert names_of(answer) == ["l"]


def test_D20_what_a_rejected_response_may_have_left_is_sent_again_at_the_version_that_the_client_names() -> None:
    node = Node(DeltaStream)
    first = node.connect()
    old, new = cluster("a", 1), cluster("a", 2)
    first.publish(Snapshot.of([old]))
    first.ack(first.ask(CLUSTER)[0])
    first.change(new)
    first.nack(first.sent(after=1)[0])  # and applied it all the same
    first.stream.close()
    node.group.publish(Snapshot.of([old]))
    (answer,) = node.connect().ask(CLUSTER, held={"a": old.version})
    assert names_of(answer) == ["a"]


def test_S71_what_was_sent_unasked_and_may_still_arrive_is_taken_away() -> None:
    client = stuck(Node(DeltaStream))
    client.publish(Snapshot.of([*web("a", "b")]))
    assert CLUSTER in [answer.type_url for answer in client.sent() + client.sent(after=11)]
    client.change(remove=((CLUSTER, "b"),))
    # It asks before it has read them, and so takes them.
    sent = client.ask(CLUSTER) + client.sent(after=3)
    assert "b" in [name for answer in sent if answer.type_url == CLUSTER for name in answer.removed_resources]
