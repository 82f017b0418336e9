"""Incremental xDS: what a response holds, what is removed and when, and clients that come back (D13 to D34)."""

from collections.abc import Callable

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from scripted_client import (
    BY_NAME,
    MAKERS,
    Client,
    cluster,
    endpoints,
    kind_of,
    listener,
    names_of,
    no_endpoints,
    routes,
    secret,
    settled,
    web,
)

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from xds_server.xds.delta import DeltaStream

Open = Callable[[str], Client]


# Removals


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_D9_D15_D16_a_removal_is_said_once_and_with_nothing_else(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    here.publish(Snapshot.of(MAKERS[type_url](name) for name in "abc"))
    here.accept(*here.ask(type_url, "*"))
    here.change(remove=((type_url, "b"),))
    (removal,) = here.sent()
    assert (names_of(removal), list(removal.removed_resources)) == ([], ["b"])
    assert here.accept(removal) == []
    assert here.sent(after=3600) == []


def test_D15_endpoints_are_drained_by_an_empty_assignment_and_not_by_removal(delta: Client) -> None:
    settled(delta, *web("a"))
    delta.change(no_endpoints("a"))
    (drained,) = delta.sent()
    assert (names_of(drained), list(drained.removed_resources)) == (["a"], [])
    assert drained.resources[0].resource.value == no_endpoints("a").body


def test_D17_V13_a_secret_that_is_replaced_is_never_removed(delta_of: Open) -> None:
    here = delta_of(SECRET)
    here.publish(Snapshot.of([secret("tls", "old")]))
    (first,) = here.ask(SECRET, "tls")
    here.accept(first)
    here.change(secret("tls", "new"))
    (rotated,) = here.sent()
    assert (names_of(rotated), list(rotated.removed_resources)) == (["tls"], [])
    assert rotated.resources[0].version != first.resources[0].version


def test_D27_B12_a_change_of_a_part_removes_nothing_of_the_rest(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(cluster(f"c{number}") for number in range(50)))
    here.accept(*here.ask(CLUSTER))
    for number in range(50):
        here.change(cluster(f"c{number}", 7))
        sent = here.sent()
        assert [(names_of(r), list(r.removed_resources)) for r in sent] == [([f"c{number}"], [])]
        here.accept(*sent)
    # Nor does a snapshot that was made anew, and has no history: only what it lacks is gone.
    here.publish(Snapshot.of(cluster(f"c{number}", 7) for number in range(1, 50)))
    assert [(names_of(r), list(r.removed_resources)) for r in here.sent()] == [([], ["c0"])]


@pytest.mark.parametrize("type_url", BY_NAME, ids=kind_of)
def test_D28_B13_of_a_named_type_only_what_was_asked_for_is_removed(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    here.publish(Snapshot.of(BY_NAME[type_url](name) for name in "abc"))
    here.accept(*here.ask(type_url, "a", held={"a": "1", "c": "1", "vanished": "1"}))
    assert here.sent(after=3600) == [], "what it holds besides is not ours to take"
    here.change(BY_NAME[type_url]("a", 2), remove=((type_url, "b"), (type_url, "c")))
    sent = here.sent()
    assert [(names_of(r), list(r.removed_resources)) for r in sent] == [(["a"], [])]
    here.accept(*sent)
    assert here.sent(after=3600) == []
    here.publish(Snapshot.of())
    assert [list(r.removed_resources) for r in here.sent(after=3)] == [["a"]]


def test_D8_D33_what_is_asked_for_while_its_removal_waits_is_denied_once(delta: Client) -> None:
    settled(delta, *web("a", "old"), routes("r", "old"))
    delta.change(routes("r", "a"), remove=((CLUSTER, "old"),))
    (moved,) = delta.sent()
    assert moved.type_url == ROUTES
    (denied,) = delta.ask(CLUSTER, "old")
    assert list(denied.removed_resources) == ["old"]
    assert delta.accept(moved, denied) == []
    assert delta.sent(after=3600) == []


def test_D30_a_removal_that_was_rejected_is_said_again_with_the_next_response(delta: Client) -> None:
    settled(delta, *web("a", "gone"))
    delta.change(remove=((ENDPOINTS, "gone"),))
    (removal,) = delta.sent()
    assert delta.reject(removal) == []
    delta.change(endpoints("a", 2))
    (answer,) = delta.sent()
    assert (names_of(answer), list(answer.removed_resources)) == (["a"], ["gone"])


# Clients that come back


def test_D18_B10_a_returning_client_gets_what_differs(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    snapshot = Snapshot.of(web("same", "changed", "new"))
    here.publish(snapshot)
    same = snapshot.get(CLUSTER, "same")
    assert same is not None
    (answer,) = here.ask(CLUSTER, held={"same": same.version, "changed": "old", "vanished": "x"})
    assert (names_of(answer), list(answer.removed_resources)) == (["changed", "new"], [])
    # Its routes may still use what vanished: they had no chance to change yet.
    here.accept(answer)
    (removal,) = here.sent(after=2.1)
    assert (names_of(removal), list(removal.removed_resources)) == ([], ["vanished"])


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER], ids=kind_of)
def test_D18_a_returning_client_that_holds_everything_is_sent_nothing(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    snapshot = Snapshot.of([*web("a"), listener("l")])
    here.publish(snapshot)
    held = {resource.name: resource.version for resource in snapshot.resources(type_url)}
    assert here.ask(type_url, held=held) == []
    assert here.sent(after=3600) == []


def test_D21_what_a_client_lists_although_it_was_removed_is_removed_again(delta: Client) -> None:
    settled(delta, *web("a", "b"))
    delta.change(remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    for response in delta.sent():
        delta.reject(response)
    group = delta.group
    back = Client(DeltaStream(lambda node: group), group, [])
    sent = back.ask(CLUSTER, held={"b": "1"}) + back.sent(after=2.1)
    assert ["b"] in [list(r.removed_resources) for r in sent]


def test_D22_an_empty_version_is_an_unknown_one(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    (answer,) = delta.ask(CLUSTER, held={"a": ""})
    assert names_of(answer) == ["a"]


def test_D18_S55_a_returning_clients_routes_let_go_before_its_clusters_are_removed(delta: Client) -> None:
    delta.publish(Snapshot.of([*web("green"), routes("r", "green")]))
    (clusters,) = delta.ask(CLUSTER, held={"blue": "x"})
    assert list(clusters.removed_resources) == []
    delta.ack(clusters)
    (new_routes,) = delta.ask(ROUTES, "r")
    assert [list(r.removed_resources) for r in delta.ack(new_routes)] == [["blue"]]


def test_D18_S55_a_returning_client_waits_for_new_clusters_like_any_other(delta: Client) -> None:
    snapshot = Snapshot.of([*web("a"), routes("r", "a")])
    delta.publish(snapshot)
    held = snapshot.get(CLUSTER, "a")
    assert held is not None
    assert delta.ask(CLUSTER, held={"a": held.version}) == []
    delta.ack(delta.ask(ROUTES, "r")[0])
    delta.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in delta.sent()] == [CLUSTER]


# What a response says


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_D22_D24_V15_B25_every_resource_has_its_name_its_version_and_its_body(delta_of: Open, type_url: str) -> None:
    made = MAKERS[type_url]("a")
    here = delta_of(type_url)
    here.publish(Snapshot.of([made]))
    (answer,) = here.ask(type_url, "a")
    (entry,) = answer.resources
    assert (entry.name, entry.version, entry.resource.value) == ("a", made.version, made.body)
    assert entry.version


def test_D23_the_version_of_the_whole_is_said_and_changes_with_content(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of([cluster("a")]))
    (first,) = here.ask(CLUSTER)
    assert first.system_version_info == Snapshot.of([cluster("a")]).version(CLUSTER)
    here.accept(first)
    here.change(cluster("a", 2))
    assert here.sent()[0].system_version_info not in ("", first.system_version_info)


def test_D24_a_resource_is_never_served_under_another_name_than_its_own() -> None:
    with pytest.raises(ValueError, match="another name"):
        Resource.of(cluster_pb2.Cluster(name="a"), name="b")
    with pytest.raises(ValueError, match="needs a name"):
        Resource.of(cluster_pb2.Cluster())


def test_D25_what_is_replaced_and_removed_in_turn_is_in_one_of_the_lists(delta: Client) -> None:
    settled(delta, *web("a", "b", "c"))
    for number in range(2, 40):
        name = "abc"[number % 3]
        if delta.group.snapshot is not None and delta.group.snapshot.get(CLUSTER, name):
            delta.change(remove=((CLUSTER, name), (ENDPOINTS, name)))
        else:
            delta.change(*web(name, seconds=number))
        delta.accept(*delta.sent(after=0.03))  # each is checked for names in both lists


def test_D26_only_what_changed_is_sent(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(cluster(f"c{number}") for number in range(100)))
    (all_of_them,) = here.ask(CLUSTER)
    assert len(all_of_them.resources) == 100
    here.accept(all_of_them)
    here.change(cluster("c7", 2))
    assert [names_of(r) for r in here.sent()] == [["c7"]]


# Several under way


def test_D29_up_to_four_responses_may_be_under_way_and_are_matched_by_nonce(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    flying = here.ask(ENDPOINTS, "a")
    for weight in range(2, 9):
        here.change(endpoints("a", weight))
        flying += here.sent()
    assert len(flying) == 4
    here.nack(flying[2])
    here.ack(flying[1])
    answered = [(e.kind, e.nonce) for e in here.events if e.kind in ("acknowledged", "rejected")]
    assert answered == [("rejected", flying[2].nonce), ("acknowledged", flying[1].nonce)]


def test_D29_an_answer_that_comes_late_still_counts(delta: Client) -> None:
    settled(delta, *web("a", "gone"))
    delta.change(remove=((ENDPOINTS, "gone"),))
    (removal,) = delta.sent()
    for weight in range(2, 9):
        delta.change(endpoints("a", weight))
        delta.sent(after=1.1)
    delta.nack(removal)
    assert delta.events[-1].kind == "rejected"
    delta.change(endpoints("a", 99))
    assert ["gone"] in [list(r.removed_resources) for r in delta.sent(after=1.1)], "the client may still hold it"


def test_D33_each_step_and_type_is_one_response(delta: Client) -> None:
    settled(delta, *web("a", "b"), listener("l"), routes("r", "a", "b"))
    delta.change(*web("a", "b", seconds=5), listener("l", 81), routes("r", "b", "a"))
    assert [(r.type_url, len(r.resources)) for r in delta.sent()] == [
        (CLUSTER, 2),
        (ENDPOINTS, 2),
        (LISTENER, 1),
        (ROUTES, 1),
    ]
