"""What is known of a node: who it is, what it was sent, what it answered, and for how long that is remembered."""

import json
from typing import Any

from joined import JoinedFleet
from scripted_client import Client, cluster, endpoints

from xds_server.fleet import NodeStatus, Quarantined, TypeStatus
from xds_server.fleet import nodes as nodes_module
from xds_server.xds import CLUSTER, ENDPOINTS, ROUTES, Snapshot


def node(fleet: JoinedFleet, node_id: str = "n") -> NodeStatus:
    found = fleet.fleet.node(node_id)
    assert found is not None
    return found


def of(fleet: JoinedFleet, type_url: str = CLUSTER, node_id: str = "n") -> TypeStatus:
    (found,) = (each for each in node(fleet, node_id).types if each.type_url == type_url)
    return found


def version_of(answer: Any) -> str:
    return str(answer.system_version_info if hasattr(answer, "system_version_info") else answer.version_info)


def test_a_node_is_what_it_says_and_where_it_comes_from(fleet: JoinedFleet) -> None:
    here = fleet.join("edge-1", peer="10.0.0.7:4711")
    request = here.stream.request(type_url=CLUSTER, node={"id": "edge-1", "cluster": "edge"})
    request.node.locality.region, request.node.locality.zone = "eu", "eu-1a"
    request.node.metadata["tier"] = "gold"
    request.node.user_agent_name, request.node.user_agent_version = "envoy", "1.40.0"
    here.stream.receive(request)
    found = node(fleet, "edge-1")
    assert (found.id, found.cluster, found.region, found.zone, found.sub_zone) == ("edge-1", "edge", "eu", "eu-1a", "")
    assert (found.metadata, found.user_agent) == ({"tier": "gold"}, "envoy 1.40.0")
    assert (found.service, found.variant, found.connected) == ("aggregated", "delta", True)
    (stream,) = found.streams
    assert (stream.peer, stream.types, stream.stream) == ("10.0.0.7:4711", (CLUSTER,), here.stream.number)
    assert stream.connected_since == found.connected_since
    assert found.connected_since is not None
    assert found.connected_since.timestamp() == fleet.now
    assert [each.id for each in fleet.fleet.nodes()] == ["edge-1"]
    assert fleet.fleet.node("unheard-of") is None


def test_from_not_sent_to_synced_and_stale(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.want(ROUTES, "none")
    if not delta:
        assert of(fleet, ROUTES).status == "NOT SENT"
    (answer,) = here.want(CLUSTER)
    state = of(fleet)
    assert (state.status, state.version_sent, state.version_acknowledged) == ("STALE", version_of(answer), "")
    assert state.sent_at is not None
    assert state.sent_at.timestamp() == fleet.now
    fleet.now += 0.25
    here.accept(answer)
    state = of(fleet)
    assert (state.status, state.version_sent, state.version_acknowledged) == ("SYNCED", *[version_of(answer)] * 2)
    assert (state.acknowledgement_seconds, state.rejection) == (0.25, None)
    assert state.acknowledged_at is not None
    assert state.acknowledged_at.timestamp() == fleet.now
    fleet.publish(cluster("a", 9))
    assert of(fleet).status == "SYNCED", "what is sent next is not sent yet"
    (newer,) = here.sent()
    state = of(fleet)
    assert (state.status, state.version_sent) == ("STALE", version_of(newer))
    assert state.version_acknowledged == version_of(answer)


def test_who_comes_back_with_all_that_there_is_needs_nothing_and_is_synced(fleet: JoinedFleet, delta: bool) -> None:
    snapshot = fleet.server.snapshot()
    assert snapshot is not None
    version = snapshot.version(CLUSTER)
    held = {each.name: each.version for each in snapshot.resources(CLUSTER)}
    here = fleet.join(delta=delta)
    assert here.ask(CLUSTER, **({"held": held} if delta else {"version": version})) == []
    state = of(fleet)
    assert (state.status, state.version_acknowledged) == ("SYNCED", version)
    assert (state.version_sent, state.sent_at) == ("", None)
    (client,) = fleet.server.clients
    assert client.types[CLUSTER].in_sync
    fleet.publish(cluster("a", 9))
    (answer,) = here.sent()
    assert (of(fleet).status, of(fleet).version_acknowledged) == ("STALE", version)
    here.accept(answer)
    assert of(fleet).status == "SYNCED"


def test_who_comes_back_with_something_else_is_not_synced_before_it_answers(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.ask(CLUSTER, **({"held": {"a": "older", "gone": "1"}} if delta else {"version": "older"}))
    assert (of(fleet).status, of(fleet).version_acknowledged) == ("STALE", "")


def test_nothing_is_sent_by_a_control_plane_that_knows_nothing(delta: bool) -> None:
    fleet = JoinedFleet()
    fleet.server.set_snapshot(Snapshot.unwritten())
    here = fleet.join(delta=delta)
    here.ask(CLUSTER, **({"held": {"a": "1"}} if delta else {"version": "1"}))
    assert of(fleet).status == "NOT SENT"


def test_a_rejection_stays_until_what_was_rejected_is_accepted(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.accept(*here.want(ENDPOINTS, "a", "b", "web-1"))
    accepted = of(fleet, ENDPOINTS).version_sent
    fleet.publish(endpoints("web-1", 5), endpoints("b", 5))
    (answer,) = here.sent()
    fleet.now += 2
    beside = here.ask(
        ENDPOINTS,
        *([] if delta else ["a", "b", "web-1"]),
        nonce=answer.nonce,
        version="" if delta else accepted,
        error="web-1: no",
    )
    state = of(fleet, ENDPOINTS)
    assert (state.status, state.version_sent, state.version_acknowledged) == ("NACKED", version_of(answer), accepted)
    assert state.quarantined == (Quarantined("web-1", "web-1: no"),)
    assert state.rejection is not None
    assert (state.rejection.version, state.rejection.message) == (version_of(answer), "web-1: no")
    assert (state.rejection.culprits, state.rejection.at.timestamp()) == (("web-1",), fleet.now)
    here.accept(*beside)
    assert of(fleet, ENDPOINTS).status == "NACKED", "what came beside it was accepted"
    fleet.publish(endpoints("a", 6))
    here.accept(*here.sent())
    assert of(fleet, ENDPOINTS).status == "NACKED", "another one was accepted"
    fleet.publish(endpoints("web-1", 6))
    here.accept(*here.accept(*here.sent(after=2)))
    state = of(fleet, ENDPOINTS)
    assert (state.status, state.rejection, state.quarantined) == ("SYNCED", None, ())


def test_S42_a_full_set_that_is_accepted_with_what_stands_in_ends_no_rejection(fleet: JoinedFleet) -> None:
    here = fleet.join(delta=False)
    here.accept(*here.want(CLUSTER))
    fleet.publish(cluster("a", 5))
    (answer,) = here.sent()
    here.accept(*here.reject(answer, "'a' is no good"))
    state = of(fleet)
    assert (state.status, state.quarantined) == ("NACKED", (Quarantined("a", "'a' is no good"),))
    fleet.publish(cluster("c", 5))
    here.accept(*here.sent())
    assert of(fleet).status == "NACKED", "another change was accepted"
    fleet.publish(cluster("a", 6))
    here.accept(*here.sent())
    state = of(fleet)
    assert (state.status, state.rejection, state.quarantined) == ("SYNCED", None, ())


def test_a_full_set_that_is_accepted_ends_a_rejection(fleet: JoinedFleet) -> None:
    here = fleet.join(delta=False)
    here.accept(*here.want(CLUSTER))
    fleet.publish(cluster("bad", 5))
    here.reject(*here.sent())
    assert of(fleet).status == "NACKED"
    fleet.publish(remove=((CLUSTER, "bad"),))
    here.accept(*here.sent(after=5))
    assert of(fleet).status == "SYNCED"


def test_what_is_no_longer_asked_for_is_no_longer_rejected(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    fleet.publish(endpoints("a", 5))
    here.reject(*here.sent())
    here.want(ENDPOINTS, "b")
    assert of(fleet, ENDPOINTS).status == "SYNCED"


def test_S19_an_error_left_over_from_before_is_an_acknowledgement(fleet: JoinedFleet) -> None:
    here = fleet.join(delta=False)
    (answer,) = here.want(CLUSTER)
    here.nack(answer, version=answer.version_info)
    state = of(fleet)
    assert (state.status, state.version_acknowledged) == ("SYNCED", answer.version_info)


def test_answers_are_matched_to_what_they_answer(fleet: JoinedFleet) -> None:
    here = fleet.join()
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    answers = []
    for weight in (2, 3):
        fleet.publish(endpoints("a", weight))
        answers += here.sent()
        fleet.now += 1
    here.accept(answers[0])
    state = of(fleet, ENDPOINTS)
    assert (state.status, state.acknowledgement_seconds) == ("STALE", 2)
    here.accept(answers[1])
    state = of(fleet, ENDPOINTS)
    assert (state.status, state.acknowledgement_seconds) == ("SYNCED", 1)


def test_a_sotw_answer_is_to_all_that_was_sent_before(fleet: JoinedFleet) -> None:
    here = fleet.join(delta=False)
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    answers = []
    for weight in (2, 3):
        fleet.publish(endpoints("a", weight))
        answers += here.sent(after=2)
    assert len(answers) == 2
    here.accept(answers[1])
    assert of(fleet, ENDPOINTS).status == "SYNCED"


def test_a_type_is_as_its_worst_stream(fleet: JoinedFleet, delta: bool) -> None:
    streams = {}
    for name in ("a", "b", "none"):
        streams[name] = fleet.join(delta=delta, type_url=ENDPOINTS)
        streams[name].accept(*streams[name].want(ENDPOINTS, name))
    assert of(fleet, ENDPOINTS).status == ("SYNCED" if delta else "NOT SENT")
    fleet.publish(endpoints("a", 5))
    (answer,) = streams["a"].sent()
    assert of(fleet, ENDPOINTS).status == "STALE"
    streams["a"].reject(answer)
    assert of(fleet, ENDPOINTS).status == "NACKED"
    assert len(node(fleet).streams) == 3
    streams["a"].leave()
    assert of(fleet, ENDPOINTS).status == ("SYNCED" if delta else "NOT SENT")


def test_who_left_is_remembered_as_it_was(fleet: JoinedFleet, delta: bool) -> None:
    here, other = fleet.join(delta=delta), fleet.join(delta=delta)
    here.accept(*here.want(CLUSTER))
    other.reject(*other.want(ENDPOINTS, "a"))
    here.leave()
    assert node(fleet).connected
    fleet.now += 10
    other.leave()
    found = node(fleet)
    assert (found.connected, found.streams, found.connected_since) == (False, (), None)
    assert found.disconnected_at is not None
    assert found.disconnected_at.timestamp() == fleet.now
    assert {each.type: each.status for each in found.types} == {"Cluster": "SYNCED", "ClusterLoadAssignment": "NACKED"}
    fleet.join(delta=delta).want(CLUSTER)
    found = node(fleet)
    assert (found.connected, found.disconnected_at, of(fleet).status) == (True, None, "STALE")
    assert len(found.types) == 1, "of its new stream"


def test_what_ended_long_before_is_not_how_it_was(fleet: JoinedFleet) -> None:
    first, other = fleet.join(), fleet.join()
    other.accept(*other.want(ENDPOINTS, "a"))
    first.reject(*first.want(CLUSTER))
    first.leave()
    second = fleet.join()
    second.accept(*second.want(CLUSTER))
    second.leave()
    other.leave()
    assert {each.type: each.status for each in node(fleet).types} == {
        "Cluster": "SYNCED",
        "ClusterLoadAssignment": "SYNCED",
    }


def test_who_left_is_forgotten_after_an_hour(fleet: JoinedFleet) -> None:
    for number in range(3):
        here = fleet.join(str(number))
        here.want(CLUSTER)
        here.leave()
        fleet.now += 1000
    assert [each.id for each in fleet.fleet.nodes()] == ["0", "1", "2"]
    fleet.now += nodes_module.REMEMBERED - 2000
    assert [each.id for each in fleet.fleet.nodes()] == ["1", "2"]
    assert fleet.fleet.node("0") is None


def test_most_that_are_remembered() -> None:
    fleet = JoinedFleet()
    nodes = fleet.fleet._nodes = nodes_module.Nodes(lambda: fleet.now, most_departed=3)
    for number in range(5):
        here = fleet.join(str(number))
        here.want(CLUSTER)
        here.leave()
    assert [each.id for each in nodes.all()] == ["2", "3", "4"]


def test_a_watch_that_never_answers_costs_a_bounded_memory(fleet: JoinedFleet) -> None:
    here = fleet.join()
    here.want(ENDPOINTS, "a")
    for weight in range(200):
        fleet.publish(endpoints("a", 2 + weight % 7))
        here.sent(after=5)
    (stream,) = fleet.fleet._nodes._streams.values()
    assert len(stream.types[ENDPOINTS].under_way) == 64


def test_a_node_is_json(fleet: JoinedFleet, delta: bool) -> None:
    here = fleet.join(delta=delta)
    here.reject(*here.want(CLUSTER))
    data = json.loads(json.dumps(node(fleet).as_dict()))
    assert data["connected_since"] == "2023-11-14T22:13:20.000Z"
    assert data["types"][0]["rejection"]["message"] == "no good"
    assert data["streams"][0]["types"] == [CLUSTER]
    assert data["disconnected_at"] is None


def test_a_fleet_that_is_closed_watches_no_more(fleet: JoinedFleet) -> None:
    fleet.fleet.close()
    here: Client = fleet.join()
    here.want(CLUSTER)
    assert fleet.fleet.nodes() == []
