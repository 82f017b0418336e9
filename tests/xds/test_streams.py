"""The state machines, in the words of the protocol: what holds for both variants. Numbers are those of the conformance list."""

import pytest
from scripted_client import Client, cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Snapshot
from xds_server.xds.stream import InvalidRequestError


def test_s6_the_first_request_needs_a_node(either: Client) -> None:
    with pytest.raises(InvalidRequestError, match="node"):
        either.ask(CLUSTER, node="")


def test_s2_an_aggregated_stream_needs_a_type(either: Client) -> None:
    with pytest.raises(InvalidRequestError, match="type_url"):
        either.ask("")


def test_s16_nothing_is_said_before_there_is_a_snapshot(either: Client) -> None:
    assert either.ask(CLUSTER) == []
    either.publish(Snapshot.of(web("a")))
    assert [names_of(r) for r in either.sent()] == [["a"]]


def test_s15_d32_an_empty_wildcard_is_answered(either: Client) -> None:
    either.publish(Snapshot.of())
    (answer,) = either.ask(CLUSTER)
    assert names_of(answer) == []
    assert either.ack(answer) == []


def test_s17_an_ack_is_not_answered(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (answer,) = either.ask(CLUSTER)
    assert either.ack(answer) == []
    assert [e.kind for e in either.events] == ["opened", "subscribed", "sent", "acknowledged"]


def test_s20_d30_what_was_rejected_is_not_sent_again_until_it_changes(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (answer,) = either.ask(CLUSTER)
    assert either.nack(answer) == []
    assert either.sent(after=60) == []
    assert either.events[-1].kind == "rejected"
    assert either.events[-1].detail == "no good"
    either.change(*web("a", seconds=2))
    (again,) = either.sent()
    assert names_of(again) == ["a"]


def test_what_was_rejected_beside_a_resource_gets_one_second_try_once_that_changes(either: Client) -> None:
    either.publish(Snapshot.of([*web("good", "bad"), *web("other")]))
    (answer,) = either.ask(ENDPOINTS, "good", "bad", "other")
    again = () if either.delta else ("good", "bad", "other")
    either.ack(answer, *again)
    either.change(endpoints("good", 2), endpoints("bad", 2))
    (answer,) = either.sent()
    assert either.nack(answer, *again) == []
    either.change(endpoints("other", 2))
    (answer,) = either.sent()
    assert names_of(answer) == ["other"]
    either.ack(answer, *again)
    either.change(endpoints("bad", 3))
    sent = either.sent()
    sent += either.ack(sent[0], *again)
    assert [names_of(r) for r in sent] == [["bad"], ["good"]]
    # Rejected again: no third try before it changes itself.
    either.nack(sent[1], *again)
    either.change(endpoints("bad", 4))
    assert [names_of(r) for r in either.sent(after=2)] == [["bad"]]


def test_s45_a_change_sends_only_itself(either: Client) -> None:
    either.publish(Snapshot.of(web("a", "b")))
    (answer,) = either.ask(ENDPOINTS, "a", "b")
    either.ack(answer, *([] if either.delta else ["a", "b"]))
    assert either.change(endpoints("a", 7))
    (update,) = either.sent()
    assert names_of(update) == ["a"]


def test_a_change_that_nobody_here_asked_for_wakes_nobody(either: Client) -> None:
    either.publish(Snapshot.of(web("a", "b")))
    either.ask(ENDPOINTS, "a")
    assert not either.change(endpoints("b", 7))
    assert either.sent() == []
    assert either.change(endpoints("a", 7))
    assert [names_of(r) for r in either.sent(after=2)] == [["a"]]


def test_s57_d13_a_changed_cluster_is_followed_by_its_endpoints(either: Client) -> None:
    either.publish(Snapshot.of(web("a", "b")))
    (clusters,) = either.ask(CLUSTER)
    either.ack(clusters)
    (answer,) = either.ask(ENDPOINTS, "a", "b")
    either.ack(answer, *([] if either.delta else ["a", "b"]))
    either.change(cluster("a", 9))  # the endpoints' own content and version stay
    first, second = either.sent()
    assert (first.type_url, second.type_url) == (CLUSTER, ENDPOINTS)
    assert names_of(second) == ["a"]


def test_d14_endpoints_asked_before_clusters_are_sent_again_after_them(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (early,) = either.ask(ENDPOINTS, "a")
    assert names_of(early) == ["a"]
    either.ack(early, *([] if either.delta else ["a"]))
    assert [r.type_url for r in either.ask(CLUSTER)] == [CLUSTER, ENDPOINTS]


def test_s55_the_order_is_make_before_break(either: Client) -> None:
    either.publish(Snapshot.of([*web("old"), listener("l"), routes("r", "old")]))
    for type_url, names in ((CLUSTER, ()), (ENDPOINTS, ("old",)), (LISTENER, ()), (ROUTES, ("r",))):
        (answer,) = either.ask(type_url, *names)
        either.ack(answer, *([] if either.delta else names))
    either.change(*web("new"), routes("r", "new"), listener("l", 81), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    (make,) = either.sent()
    assert make.type_url == CLUSTER
    assert "new" in names_of(make)
    if not either.delta:
        assert "old" in names_of(make), "S56: the superset first"
    # The ACK comes when the new cluster is warm; only then traffic may be sent to it.
    either.ask(ENDPOINTS, *(["new"] if either.delta else ["old", "new"]))
    listeners, new_routes = either.ack(make)
    assert (listeners.type_url, new_routes.type_url) == (LISTENER, ROUTES)
    assert either.ack(listeners) == []
    last = either.ack(new_routes, *([] if either.delta else ["r"]))
    if either.delta:
        assert [(r.type_url, list(r.removed_resources)) for r in last] == [(ENDPOINTS, ["old"]), (CLUSTER, ["old"])]
    else:
        assert [names_of(r) for r in last] == [["new"]]


def test_b6_endpoints_do_not_wait_for_the_answer_to_clusters(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    either.ask(CLUSTER)
    assert [names_of(r) for r in either.ask(ENDPOINTS, "a")] == [["a"]]
    either.change(endpoints("a", 5))
    assert [names_of(r) for r in either.sent(after=1.1)] == [["a"]]


def test_s24_a_client_that_never_answers_still_gets_the_newest_state(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    either.ask(CLUSTER)
    newest = []
    for seconds in range(2, 9):
        either.change(cluster("a", seconds))
        newest += either.sent(after=0.2)
    assert [r.type_url for r in newest] == [CLUSTER] * 7, "each waits a tenth of a second at most"


def test_routes_wait_for_new_clusters_for_a_bounded_time(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), routes("r", "a")]))
    for type_url, names in ((CLUSTER, ()), (ROUTES, ("r",))):
        (answer,) = either.ask(type_url, *names)
        either.ack(answer, *([] if either.delta else names))
    either.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in either.sent()] == [CLUSTER]
    assert either.sent(after=0.5) == []
    assert either.stream.next_try is not None
    assert [r.type_url for r in either.sent(after=0.6)] == [ROUTES]


def test_two_changes_before_a_word_are_both_sent(either: Client) -> None:
    settled(either, *web("a", "b"), routes("r", "a"))
    assert either.change(endpoints("a", 2))
    assert either.change(endpoints("b", 2))
    assert {name for r in either.sent() for name in names_of(r)} == {"a", "b"}


def test_routes_wait_for_new_clusters_whatever_else_happens_to_clusters(either: Client) -> None:
    settled(either, *web("a"), routes("r", "a"))
    either.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in either.sent()] == [CLUSTER]
    either.change(*web("a", seconds=5))  # nothing new, and not what the routes wait for
    assert ROUTES not in [r.type_url for r in either.sent(after=0.2)]
    assert ROUTES in [r.type_url for r in either.sent(after=0.9)]


def test_s24_routes_wait_no_longer_because_ever_more_clusters_come(either: Client) -> None:
    settled(either, *web("a"), routes("r", "a"))
    clusters = ["a"]
    seen = []
    for number in range(6):
        clusters.append(f"c{number}")
        either.change(*web(clusters[-1]), routes("r", *clusters))
        seen += [r.type_url for r in either.sent(after=0.5)]
    assert ROUTES in seen


def test_removals_are_not_put_off_for_ever_by_changing_routes(either: Client) -> None:
    settled(either, *web("a", "old"), routes("r", "a", "old"))
    either.change(routes("r", "a"), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    waiting = either.sent()
    assert [r.type_url for r in waiting] == [ROUTES]
    seconds = 0.0
    while not any(r.type_url == CLUSTER for r in waiting):
        # Whenever one change of the routes is acknowledged, the next is there already.
        either.change(routes("r", "a", f"n{seconds}"))
        waiting = [r for answered in waiting for r in either.ack(answered, *(() if either.delta else ["r"]))]
        waiting += either.sent(after=0.1)
        seconds += 0.1
        assert seconds < 3
    assert seconds > 1


def test_s60_endpoints_do_not_overtake_the_cluster_that_changed_with_them(either: Client) -> None:
    settled(either, *web("a"))
    for seconds in range(2, 7):  # as many as may be under way, unanswered
        either.change(cluster("a", seconds))
        either.sent()
    either.change(*web("a", seconds=20))
    order = [r.type_url for r in either.sent()]
    order += [r.type_url for r in either.sent(after=0.2)]
    assert CLUSTER in order
    assert order.index(CLUSTER) == 0 or ENDPOINTS not in order[: order.index(CLUSTER)]


def test_rejected_resources_that_are_removed_are_forgotten(either: Client) -> None:
    settled(either, *web("keep", "other"))
    for number in range(5):
        either.change(endpoints("keep", number + 2), endpoints("other", number + 2))
        for response in either.sent(after=2):
            either.nack(response, *(() if either.delta else ["keep", "other"]))
    either.change(remove=((ENDPOINTS, "keep"), (ENDPOINTS, "other")))
    either.sent(after=3)
    assert either.stream._watches[ENDPOINTS]._parked == []


def test_a_listener_that_takes_anothers_place_comes_in_the_response_that_removes_it(either: Client) -> None:
    settled(either, *web("a"), listener("old", 80), routes("r", "a"))
    either.change(listener("new", 80), remove=((LISTENER, "old"),))
    (answer,) = either.sent()
    assert names_of(answer) == ["new"]
    if either.delta:
        assert list(answer.removed_resources) == ["old"]


def test_a_node_that_cannot_be_read_ends_its_stream(either: Client) -> None:
    request = either.stream.request(type_url=CLUSTER)
    request.node.id = "n"
    request.node.metadata["load"] = float("nan")
    with pytest.raises(InvalidRequestError, match="node"):
        either.stream.receive(request)


def test_a_stream_can_move_to_another_group(either: Client) -> None:
    from xds_server.xds.group import Group

    either.publish(Snapshot.of(web("a", "b")))
    (answer,) = either.ask(CLUSTER)
    either.ack(answer)
    other = Group("other")
    other.publish(Snapshot.of(web("b", "c")))
    either.stream.move(other)
    responses = either.sent(after=1)
    held = {"a", "b"}
    for response in responses:
        if either.delta:
            held = (held | set(names_of(response))) - set(response.removed_resources)
        else:
            held = set(names_of(response))
    assert held == {"b", "c"}
