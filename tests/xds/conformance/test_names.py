"""What a list of names means: subscriptions, missing names, endpoints by another name (S34 to S45, S51 to S54)."""

from collections.abc import Callable

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from scripted_client import (
    BY_NAME,
    MAKERS,
    WHOLE,
    Client,
    cluster,
    endpoints,
    kind_of,
    names_of,
    no_endpoints,
    settled,
    web,
)

from xds_server.xds import (
    CLUSTER,
    ENDPOINTS,
    Resource,
    Snapshot,
)

Open = Callable[[str], Client]


def test_S34_the_order_of_names_means_nothing(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b", "c")))
    (answer,) = sotw.ask(ENDPOINTS, "c", "a", "b")
    assert sotw.ack(answer, "b", "c", "a") == []
    assert sotw.ack(answer, "a", "b", "c", "a") == []
    assert len(sotw.told("subscribed")) == 1


@pytest.mark.parametrize("type_url", BY_NAME, ids=kind_of)
def test_S35_B9_names_added_under_an_unchanged_version_are_answered(stream_of: Open, type_url: str) -> None:
    here = stream_of(type_url)
    here.publish(Snapshot.of(BY_NAME[type_url](name) for name in "ab"))
    (first,) = here.want(type_url, "a")
    here.accept(first)
    (second,) = here.want(type_url, "a", "b")
    assert names_of(second) == ["b"]
    if not here.delta:
        assert second.version_info == first.version_info


def test_S35_D7_D8_a_question_is_answered_at_once_however_much_is_unanswered(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    here.publish(Snapshot.of(web("a", "b")))
    here.want(CLUSTER, "a")
    for seconds in range(2, 9):
        here.change(cluster("a", seconds))
        here.sent()
    assert here.sent() == [], "changes wait for answers"
    (answer,) = here.want(CLUSTER, "a", "b")
    assert "b" in names_of(answer)
    here.change(cluster("a", 20))
    assert here.sent() == []
    (answer,) = here.want(CLUSTER, "a", "b", "*")
    if here.delta:
        here.change(cluster("a", 30))
        assert here.sent() == []
        (answer,) = here.want(CLUSTER, "a", "*")
        assert "b" in names_of(answer), "D11"


def test_S36_D12_B8_a_name_dropped_and_asked_again_is_sent_again(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    assert here.want(ENDPOINTS, "b") == []
    (again,) = here.want(ENDPOINTS, "a", "b")
    assert names_of(again) == ["a"]


def test_S36_S49_B8_endpoints_of_a_cluster_that_was_deleted_and_is_back(sotw: Client) -> None:
    settled(sotw, *web("c1"))
    sotw.change(remove=((CLUSTER, "c1"),))
    (deleted,) = sotw.sent()
    sotw.accept(deleted)
    assert sotw.want(ENDPOINTS) == [], "what gRPC says when it drops the cluster"
    sotw.change(cluster("c1"))
    (back,) = sotw.sent()
    sotw.accept(back)
    # At the current version and nonce: unanswered, RPCs would fail for ever.
    assert [names_of(r) for r in sotw.want(ENDPOINTS, "c1")] == [["c1"]]


def test_S37_what_left_the_subscription_is_forgotten(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    here.want(ENDPOINTS, "b")
    assert not here.change(endpoints("a", 2)), "its changes wake nobody"
    assert here.sent(after=5) == []
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    here.change(endpoints("a", 3))
    assert [names_of(r) for r in here.sent()] == [["a"]]


def test_S38_D10_names_that_are_only_dropped_are_not_answered(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    assert here.want(ENDPOINTS, "a") == []
    assert here.want(ENDPOINTS) == []
    assert here.sent(after=3600) == []


def test_S39_B16_a_missing_name_is_remembered_in_silence(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (answer,) = sotw.ask(ENDPOINTS, "a", "later")
    assert names_of(answer) == ["a"]
    assert sotw.ack(answer, "a", "later") == []
    assert sotw.sent(after=2) == []
    assert sotw.stream.next_try is None, "nothing to try again"
    sotw.change(endpoints("later"))
    assert [names_of(r) for r in sotw.sent()] == [["later"]]


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S39_B16_nothing_is_said_while_nothing_that_was_asked_for_exists(sotw: Client, type_url: str) -> None:
    sotw.publish(Snapshot.of(web("other")))
    assert sotw.want(type_url, "later") == []
    assert sotw.sent(after=2) == []
    sotw.change(MAKERS[type_url]("later"))
    assert [names_of(r) for r in sotw.sent()] == [["later"]]


def test_S41_D26_P9_a_change_sends_only_itself(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b", "c")))
    here.accept(*here.want(ENDPOINTS, "a", "b"))
    assert here.change(endpoints("a", 7))
    assert [names_of(r) for r in here.sent()] == [["a"]]
    assert not here.change(endpoints("c", 7)), "of what was not asked for, nothing"


def test_S42_clusters_are_always_the_full_set(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b", "c")))
    sotw.accept(*sotw.want(CLUSTER))
    sotw.change(cluster("a", 5))
    (answer,) = sotw.sent()
    assert names_of(answer) == ["a", "b", "c"]
    sotw.accept(answer)
    sotw.change(remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    assert [names_of(r) for r in sotw.sent()] == [["b", "c"]], "absent is deleted, and said once"


@pytest.mark.parametrize("type_url", WHOLE, ids=kind_of)
def test_S42_S51_a_full_set_by_name_is_what_was_named_and_exists(sotw: Client, type_url: str) -> None:
    sotw.publish(Snapshot.of(WHOLE[type_url](name) for name in "abc"))
    (answer,) = sotw.want(type_url, "a", "missing")
    assert names_of(answer) == ["a"]
    sotw.accept(answer)
    (answer,) = sotw.want(type_url, "a", "missing", "c")
    assert names_of(answer) == ["a", "c"], "the one that was there before, too: absent would be deleted"
    sotw.accept(answer)
    sotw.change(WHOLE[type_url]("b", 7))
    assert sotw.sent(after=5) == []
    sotw.change(remove=((type_url, "a"),))
    assert [names_of(r) for r in sotw.sent()] == [["c"]]


def test_S43_B21_what_exists_is_sent_whatever_else_is_asked_for_or_not(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b", "c")))
    (answer,) = here.want(ENDPOINTS, "b", "unknown")
    assert names_of(answer) == ["b"], "neither all of the snapshot nor nothing"


@pytest.mark.parametrize("type_url", BY_NAME, ids=kind_of)
def test_S44_removal_of_a_named_resource_is_not_said_in_state_of_the_world(sotw: Client, type_url: str) -> None:
    sotw.publish(Snapshot.of(BY_NAME[type_url](name) for name in "ab"))
    sotw.accept(*sotw.want(type_url, "a", "b"))
    sotw.change(remove=((type_url, "a"), (type_url, "b")))
    assert sotw.sent(after=3600) == [], "an empty response would mean nothing"
    sotw.change(BY_NAME[type_url]("a"))
    assert [names_of(r) for r in sotw.sent()] == [["a"]]


def test_S44_D15_B22_a_cluster_is_emptied_by_an_empty_assignment(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([cluster("a"), no_endpoints("a")]))
    (answer,) = here.want(ENDPOINTS, "a")
    assert names_of(answer) == ["a"], "at once: Envoy would wait for it"
    here.accept(answer)
    here.change(endpoints("a"))
    here.accept(*here.sent())
    here.change(no_endpoints("a"))
    (emptied,) = here.sent()
    body = emptied.resources[0].resource if here.delta else emptied.resources[0]
    assert body.value == no_endpoints("a").body


def test_S45_D25_no_name_comes_twice(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    (answer,) = here.ask(ENDPOINTS, "a", "a", "b", "a", "nowhere", "nowhere")
    assert names_of(answer) == ["a", "b"]
    if here.delta:
        assert list(answer.removed_resources) == ["nowhere"]
    with pytest.raises(ValueError, match="same type and name"):
        Snapshot.of([cluster("a"), cluster("a", 2)])


def test_S52_what_springs_up_late_is_sent_unasked(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    here.accept(*here.want(ENDPOINTS, "a", "late"))
    for number in range(1, 2000):  # longer than any log of changes
        here.change(endpoints("other", number))
    here.now += 86_400
    here.change(endpoints("late"))
    assert [names_of(r) for r in here.sent()] == [["late"]]


def test_S53_endpoints_go_by_the_service_name_of_their_cluster(either: Client) -> None:
    settled(either, cluster("front", eds="backend"), endpoints("backend"), endpoints("front"))
    either.change(cluster("front", 5, eds="backend"))
    first, second = either.sent()
    assert (first.type_url, names_of(second)) == (CLUSTER, ["backend"]), "S57: that one is sent again"
    with pytest.raises(ValueError, match="another name"):
        Resource.of(endpoint_pb2.ClusterLoadAssignment(cluster_name="backend"), name="front")


def test_S54_B31_a_second_cluster_on_the_same_endpoints_has_them_sent_again(either: Client) -> None:
    settled(either, cluster("one", eds="shared"), endpoints("shared"))
    either.change(cluster("two", eds="shared"))
    first, second = either.sent()
    assert (first.type_url, second.type_url, names_of(second)) == (CLUSTER, ENDPOINTS, ["shared"])
