"""How far a revision has come: whom it concerns, and who answered and how."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from joined import JoinedFleet, up_to_date
from scripted_client import cluster, endpoints, listener, web

from xds_server.fleet import Commit, UnknownRevisionError
from xds_server.fleet import fleet as fleet_module
from xds_server.fleet.rollout import TOLD
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Snapshot


def test_a_revision_is_acknowledged_by_those_whom_it_concerns(fleet: JoinedFleet, delta: bool) -> None:
    one, other = up_to_date(fleet, "1", delta=delta), up_to_date(fleet, "2", delta=delta)
    up_to_date(fleet, "3", delta=delta, endpoints=("b",))
    revision = fleet.publish(endpoints("a", 5))
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged) == (2, 0)
    assert progress.pending == {"1": ("ClusterLoadAssignment",), "2": ("ClusterLoadAssignment",)}
    assert not progress.reached(50)
    one.accept(*one.sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged, list(progress.pending)) == (2, 1, ["2"])
    assert progress.reached(50)
    assert not progress.reached(51)
    assert progress.seconds is None
    fleet.now += 3
    other.accept(*other.sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.acknowledged, progress.pending, progress.seconds) == (2, {}, 3)
    assert progress.reached(100)


def test_one_that_concerns_nobody_is_a_success_at_once(fleet: JoinedFleet) -> None:
    up_to_date(fleet)
    revision = fleet.publish(endpoints("unheard-of"))
    progress = fleet.fleet.progress(revision)
    assert (progress.published, progress.affected, progress.seconds) == (True, 0, None)
    assert progress.reached(100)


def test_what_turns_out_to_be_nothing_concerns_nobody(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    came = fleet.publish(*web("c"))
    went = fleet.publish(remove=((CLUSTER, "c"), (ENDPOINTS, "c")))
    assert fleet.fleet.progress(came).affected == 1
    assert here.sent(after=10) == []
    for revision in (came, went):
        assert fleet.fleet.progress(revision).affected == 0


def test_a_rejection_is_told_in_the_clients_words_and_is_final(fleet: JoinedFleet, delta: bool) -> None:
    here, other = up_to_date(fleet, "1", delta=delta), up_to_date(fleet, "2", delta=delta)
    revision = fleet.publish(cluster("web-1", 7))
    (answer,) = here.sent()
    here.ask(CLUSTER, nonce=answer.nonce, version="" if delta else "older", error="cluster 'web-1': not like this")
    other.accept(*other.sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged, progress.rejections, progress.pending) == (2, 1, 1, {})
    (rejected,) = progress.rejected
    assert (rejected.node, rejected.type, rejected.culprits) == ("1", "Cluster", ("web-1",))
    assert rejected.message == "cluster 'web-1': not like this"
    assert not progress.reached(51)
    fixed = fleet.publish(cluster("web-1", 8))
    for client in (here, other):
        client.accept(*client.sent(after=2))
    assert fleet.fleet.progress(revision).rejections == 1
    assert fleet.fleet.progress(fixed).reached(100)


def test_many_rejections_are_counted_and_some_are_told(fleet: JoinedFleet) -> None:
    clients = [up_to_date(fleet, f"{number:04}") for number in range(TOLD + 20)]
    revision = fleet.publish(endpoints("a", 5))
    for client in clients:
        client.reject(*client.sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.rejections, len(progress.rejected)) == (TOLD + 20, TOLD)


def test_who_leaves_is_not_waited_for(fleet: JoinedFleet, delta: bool) -> None:
    here, other = up_to_date(fleet, "1", delta=delta), up_to_date(fleet, "2", delta=delta)
    revision = fleet.publish(endpoints("a", 5))
    here.sent()
    here.leave()
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.left, list(progress.pending)) == (1, 1, ["2"])
    other.accept(*other.sent())
    assert fleet.fleet.progress(revision).reached(100)
    back = up_to_date(fleet, "1", delta=delta)
    assert back.sent() == []
    assert fleet.fleet.progress(revision).left == 1, "it was served the newest, by no revision"


def test_a_node_counts_once_and_answers_with_all_of_its_streams(fleet: JoinedFleet, delta: bool) -> None:
    """An Envoy with a stream for each subscription."""
    clusters = fleet.join(delta=delta, type_url=CLUSTER)
    clusters.accept(*clusters.want(CLUSTER))
    streams = {}
    for name in ("a", "b"):
        streams[name] = fleet.join(delta=delta, type_url=ENDPOINTS)
        streams[name].accept(*streams[name].want(ENDPOINTS, name))
    revision = fleet.publish(*web("a", "b", seconds=9))
    assert fleet.fleet.progress(revision).pending == {"n": ("Cluster", "ClusterLoadAssignment")}
    clusters.accept(*clusters.sent())
    streams["a"].accept(*streams["a"].sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged) == (1, 0)
    assert progress.pending == {"n": ("ClusterLoadAssignment",)}
    streams["b"].accept(*streams["b"].sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged, progress.warm) == (1, 1, 0)


def test_streams_that_a_change_ends_do_not_make_a_node_leave(fleet: JoinedFleet, delta: bool) -> None:
    """An Envoy with a stream for each subscription ends that of a cluster's endpoints with the cluster."""
    clusters = fleet.join(delta=delta, type_url=CLUSTER)
    clusters.accept(*clusters.want(CLUSTER))
    assigned = fleet.join(delta=delta, type_url=ENDPOINTS)
    assigned.accept(*assigned.want(ENDPOINTS, "a"))
    revision = fleet.publish(remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    clusters.accept(*clusters.sent(), *clusters.sent(after=5))
    assigned.leave()
    progress = fleet.fleet.progress(revision)
    assert (progress.acknowledged, progress.left, progress.pending) == (1, 0, {})


def test_one_stream_that_rejects_is_enough(fleet: JoinedFleet) -> None:
    streams = []
    for name in ("a", "b"):
        streams.append(fleet.join(type_url=ENDPOINTS))
        streams[-1].accept(*streams[-1].want(ENDPOINTS, name))
    revision = fleet.publish(endpoints("a", 5), endpoints("b", 5))
    streams[0].reject(*streams[0].sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.rejections, progress.pending) == (1, {})
    streams[1].accept(*streams[1].sent())
    assert fleet.fleet.progress(revision).acknowledged == 0


def test_nodes_that_move_to_another_group_are_concerned(fleet: JoinedFleet, delta: bool) -> None:
    here, _ = up_to_date(fleet, "1", delta=delta), up_to_date(fleet, "2", delta=delta)
    fleet.server.set_snapshot(Snapshot.of([*web("a", "b"), cluster("c")]), "other")
    fleet.groups["1"] = "other"
    with fleet.revision() as revision:
        snapshot = fleet.server.snapshot("other")
        assert snapshot is not None
        fleet.server.set_snapshot(snapshot.change([cluster("d")]), "other")
        fleet.server.regroup()
    assert list(fleet.fleet.progress(revision).pending) == ["1"]
    for answer in here.sent():
        here.accept(answer)
    progress = fleet.fleet.progress(revision)
    assert (progress.affected, progress.acknowledged) == (1, 1)


def test_a_group_that_moves_and_changes_counts_its_streams_once(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet, "1")
    fleet.groups["1"] = "other"
    fleet.server.set_snapshot(Snapshot.of(web("a", "b")), "other")
    with fleet.revision() as revision:
        snapshot = fleet.server.snapshot()
        assert snapshot is not None
        fleet.server.set_snapshot(snapshot.change([endpoints("a", 5)]))
        fleet.server.regroup()
    assert len(here.stream._awaiting._changes) == 1
    assert here.sent() == [], "all the same there"
    assert fleet.fleet.progress(revision).affected == 0


def test_warm_is_counted_where_it_is_known(fleet: JoinedFleet, delta: bool) -> None:
    with_listeners, without = up_to_date(fleet, "1", delta=delta), up_to_date(fleet, "2", delta=delta)
    with_listeners.accept(*with_listeners.want(LISTENER))
    revision = fleet.publish(cluster("a", 9))
    for client in (with_listeners, without):
        client.accept(*client.sent())
    progress = fleet.fleet.progress(revision)
    assert (progress.acknowledged, progress.warm) == (2, 1)


def test_a_revision_that_raises_leaves_nothing_behind(fleet: JoinedFleet) -> None:
    up_to_date(fleet)
    with pytest.raises(ZeroDivisionError), fleet.revision() as revision:
        raise ZeroDivisionError
    assert not fleet.fleet.progress(revision).published
    assert fleet.publish(endpoints("a", 5)) == revision + 1, "and the next one is not in its way"


def test_one_revision_at_a_time(fleet: JoinedFleet) -> None:
    with fleet.revision(), pytest.raises(RuntimeError, match="one at a time"), fleet.revision():
        pass


def test_progress_is_json(fleet: JoinedFleet) -> None:
    here, _ = up_to_date(fleet, "1"), up_to_date(fleet, "2")
    revision = fleet.publish(endpoints("a", 5))
    here.reject(*here.sent())
    data = json.loads(json.dumps(fleet.fleet.progress(revision).as_dict()))
    assert data["pending"] == {"2": ["ClusterLoadAssignment"]}
    assert data["rejected"][0]["message"] == "no good"


async def test_pollers_are_not_known_and_not_waited_for(fleet: JoinedFleet) -> None:
    await fleet.server.poll(CLUSTER, discovery_pb2.DiscoveryRequest(node={"id": "poller"}))
    assert fleet.fleet.progress(fleet.publish(*web("c"))).affected == 0
    assert fleet.fleet.nodes() == []


# What is remembered


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_OPEN", 3)
    monkeypatch.setattr(fleet_module, "MOST_ENDED", 3)


def test_outcomes_are_kept_for_a_while(fleet: JoinedFleet, bounded: None) -> None:
    here = up_to_date(fleet)
    for weight in range(2, 10):
        fleet.publish(endpoints("a", weight))
        here.accept(*here.sent())
    assert [fleet.fleet.progress(revision).acknowledged for revision in (6, 7, 8)] == [1, 1, 1]
    with pytest.raises(UnknownRevisionError, match="revision 4"):
        fleet.fleet.progress(4)


def test_what_is_never_answered_is_forgotten_in_the_end(fleet: JoinedFleet, bounded: None) -> None:
    here = up_to_date(fleet)
    for weight in range(2, 10):
        fleet.publish(endpoints("a", weight))
    with pytest.raises(UnknownRevisionError):
        fleet.fleet.progress(5)
    assert len(here.stream._awaiting._changes) == 3, "nor does its stream remember it"
    here.accept(*here.sent())
    assert fleet.fleet.progress(6).acknowledged == 1
    assert here.stream._awaiting._changes == {}


def test_a_revision_that_was_never_served_by_itself_is_answered_for_with_the_next(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    next(fleet.revisions)
    assert not fleet.fleet.progress(1).published
    revision = fleet.publish(endpoints("a", 5))
    assert fleet.fleet.progress(1).revision == revision
    here.accept(*here.sent())
    assert fleet.fleet.progress(1).reached(100)


def test_one_that_is_served_again_starts_anew(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    snapshot = fleet.server.snapshot()
    assert snapshot is not None
    for weight in (5, 6):
        with fleet.fleet.published(Commit(1, None)):
            fleet.server.set_snapshot(snapshot := snapshot.change([endpoints("a", weight)]))
    assert fleet.fleet.progress(1).affected == 1
    assert len(here.stream._awaiting._changes) == 1
    here.accept(*here.sent())
    assert fleet.fleet.progress(1).seconds is None, "nobody said when it was committed"


# Preview, and what all of it costs


def test_who_would_be_concerned_is_known_before(fleet: JoinedFleet) -> None:
    fleet.groups["3"] = "other"
    fleet.server.set_snapshot(Snapshot.of(web("a")), "other")
    for node in ("2", "1", "3"):
        up_to_date(fleet, node, endpoints=("a",) if node == "1" else ("b",))
    assert fleet.fleet.affected([""]) == ("1", "2")
    assert fleet.fleet.affected(["", "other", "unheard-of"]) == ("1", "2", "3")
    assert fleet.fleet.affected(["", "other"], {ENDPOINTS: frozenset({"a"})}) == ("1",)
    assert fleet.fleet.affected(["", "other"], {CLUSTER: frozenset({"new"})}) == ("1", "2", "3")
    assert fleet.fleet.affected_where(lambda node: node.id > "1") == ("2", "3")


def test_a_change_does_no_work_for_the_streams_of_other_groups(
    fleet: JoinedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        fleet.groups[str(number)] = f"group {number % 10}"
        fleet.server.set_snapshot(Snapshot.of(web("a")), f"group {number % 10}")
    clients = {number: up_to_date(fleet, str(number), endpoints=("a",)) for number in range(20)}
    asked = []
    for client in clients.values():
        for name in ("advance", "expect", "respond", "touched_by"):
            real: Callable[..., Any] = getattr(client.stream, name)

            def counted(*given: Any, real: Any = real, stream: Any = client.stream, **named: Any) -> Any:
                asked.append(stream)
                return real(*given, **named)

            monkeypatch.setattr(client.stream, name, counted)
    revision = fleet.publish(endpoints("a", 5), group="group 3")
    assert {stream.node.id for stream in asked} == {"3", "13"}
    assert len(asked) == 4, "each is told of the change, and asked whether it concerns it"
    clients[3].accept(*clients[3].sent())
    assert fleet.fleet.progress(revision).acknowledged == 1


def test_a_change_outside_of_revisions_expects_nothing(fleet: JoinedFleet) -> None:
    here = up_to_date(fleet)
    snapshot = fleet.server.snapshot()
    assert snapshot is not None
    fleet.server.set_snapshot(snapshot.change([endpoints("a", 5)]))
    assert here.stream._awaiting._changes == {}


def test_a_mistake_of_whoever_is_told_hurts_nobody(fleet: JoinedFleet, caplog: pytest.LogCaptureFixture) -> None:
    here = up_to_date(fleet)
    snapshot = fleet.server.snapshot()
    assert snapshot is not None
    with fleet.server.tracking(lambda outcome: 1 / 0):  # type: ignore[arg-type, return-value]
        fleet.server.set_snapshot(snapshot.change([endpoints("a", 5)]))
    here.accept(*here.sent())
    assert "failed" in caplog.text


def test_an_envoy_that_was_settled_is_not_concerned_by_what_it_holds(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.accept(*here.want(CLUSTER), *here.want(ENDPOINTS, "a"), *here.want(LISTENER))
    revision = fleet.publish(*web("a"), listener("l"))
    assert fleet.fleet.progress(revision).pending == {"n": ("Listener",)}
