"""Make before break on one stream: what goes before what, and what goes last (S55, S56, S60, S62 to S65, D33)."""

import random

import pytest
import recorder
from scripted_client import (
    Client,
    cluster,
    kind_of,
    listener,
    names_of,
    routes,
    secret,
    settled,
    web,
)

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Snapshot

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)


def test_S55_S56_a_swap_makes_before_it_breaks(either: Client) -> None:
    settled(either, *web("old"), listener("l"), routes("r", "old"))
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
        assert last[0].version_info != make.version_info, "S56: a version of its own"


def test_S55_S56_a_swap_makes_before_it_breaks_for_a_client_that_goes_by_name(sotw: Client) -> None:
    sotw.publish(Snapshot.of([*web("old"), routes("r", "old")]))
    sotw.accept(*sotw.want(CLUSTER, "old", "new"))
    sotw.accept(*sotw.want(ROUTES, "r"))
    sotw.change(*web("new"), routes("r", "new"), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    (both,) = sotw.sent()
    assert names_of(both) == ["new", "old"]
    (moved,) = sotw.accept(both)
    assert moved.type_url == ROUTES
    assert [names_of(r) for r in sotw.accept(moved)] == [["new"]]


def test_S55_D33_what_is_removed_goes_in_reverse(delta: Client) -> None:
    settled(delta, *web("a", "old"), listener("l"), listener("old", 81), routes("r", "a"))
    delta.accept(*delta.want(ROUTES, "r", "old"))
    delta.change(routes("old", "old"))
    delta.accept(*delta.sent())
    delta.change(remove=((CLUSTER, "old"), (ENDPOINTS, "old"), (LISTENER, "old"), (ROUTES, "old")))
    order = []
    sent = delta.sent()
    while sent:
        order += [r.type_url for r in sent]
        assert all(not r.resources and list(r.removed_resources) == ["old"] for r in sent)
        sent = delta.accept(*sent) + delta.sent(after=0.1)
    assert order == [ROUTES, LISTENER, ENDPOINTS, CLUSTER]


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "unanswered"])
def test_S55_a_cluster_in_use_is_not_taken_away_before_its_routes_moved(either: Client, answered: bool) -> None:
    settled(either, *web("old", "new"), listener("l"), routes("r", "old"))
    either.change(routes("r", "new"), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    sent = either.sent()
    assert [r.type_url for r in sent] == [ROUTES]
    if answered:
        assert CLUSTER in [r.type_url for r in either.accept(*sent)], "no later than it must be"
        return
    waited = 0.0
    while CLUSTER not in [r.type_url for r in sent]:
        assert waited < 3, "for a bounded time"
        sent = either.sent(after=0.25)
        waited += 0.25
    assert waited == 2


def test_S55_routes_wait_for_new_clusters_for_a_bounded_time(either: Client) -> None:
    settled(either, *web("a"), routes("r", "a"))
    either.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in either.sent()] == [CLUSTER]
    assert either.sent(after=0.5) == []
    assert either.stream.next_try == pytest.approx(either.now + 0.5)
    assert [r.type_url for r in either.sent(after=0.6)] == [ROUTES]
    assert either.stream.next_try is None


def test_S55_routes_wait_for_new_clusters_whatever_else_happens_to_clusters(either: Client) -> None:
    settled(either, *web("a"), routes("r", "a"))
    either.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in either.sent()] == [CLUSTER]
    either.change(*web("a", seconds=5))  # nothing new, and not what the routes wait for
    assert ROUTES not in [r.type_url for r in either.sent(after=0.2)]
    assert ROUTES in [r.type_url for r in either.sent(after=0.9)]


def test_S24_routes_wait_no_longer_because_ever_more_clusters_come(either: Client) -> None:
    settled(either, *web("a"), routes("r", "a"))
    clusters = ["a"]
    seen = []
    for number in range(6):
        clusters.append(f"c{number}")
        either.change(*web(clusters[-1]), routes("r", *clusters))
        seen += [r.type_url for r in either.sent(after=0.5)]
    assert ROUTES in seen


def test_S55_removals_are_not_put_off_for_ever_by_changing_routes(either: Client) -> None:
    settled(either, *web("a", "old"), routes("r", "a", "old"))
    either.change(routes("r", "a"), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    waiting = either.sent()
    assert [r.type_url for r in waiting] == [ROUTES]
    seconds = 0.0
    while not any(r.type_url == CLUSTER for r in waiting):
        # Whenever one change of the routes is acknowledged, the next is there already.
        either.change(routes("r", "a", f"n{seconds}"))
        waiting = either.accept(*waiting) + either.sent(after=0.1)
        seconds += 0.1
        assert seconds < 3
    assert seconds > 1


def test_S55_a_listener_that_takes_anothers_place_comes_in_the_response_that_removes_it(either: Client) -> None:
    settled(either, *web("a"), listener("old", 80), routes("r", "a"))
    either.change(listener("new", 80), remove=((LISTENER, "old"),))
    (answer,) = either.sent()
    assert names_of(answer) == ["new"]
    if either.delta:
        assert list(answer.removed_resources) == ["old"]


def test_S55_S56_nor_does_it_go_before_the_other_may_come(either: Client) -> None:
    settled(either, *web("a"), listener("old", 80), routes("r", "a"))
    either.change(*web("b"), listener("new", 80), remove=((LISTENER, "old"),))
    with recorder.diverted():
        (clusters,) = either.sent()
        assert clusters.type_url == CLUSTER, "the new listener may use the new cluster, once that is warm"
        assert either.sent(after=0.5) == []
        (answer,) = either.accept(clusters)
        assert names_of(answer) == ["new"]
        if either.delta:
            assert list(answer.removed_resources) == ["old"]
        assert either.accept(answer) == []


def test_S60_B35_endpoints_do_not_overtake_the_cluster_that_changed_with_them(either: Client) -> None:
    settled(either, *web("a"))
    for seconds in range(2, 7):  # as many as may be under way, unanswered
        either.change(cluster("a", seconds))
        either.sent()
    either.change(*web("a", seconds=20))
    order = [r.type_url for r in either.sent()]
    order += [r.type_url for r in either.sent(after=0.2)]
    assert CLUSTER in order
    assert order.index(CLUSTER) == 0 or ENDPOINTS not in order[: order.index(CLUSTER)]


def test_S60_B35_B36_a_hundred_pushes_all_come_in_the_same_order(either: Client) -> None:
    settled(either, *web("a"), listener("l"), routes("r", "a"))
    for number in range(2, 102):
        changes = [*web("a", seconds=number), listener("l", 1000 + number), routes("r", "a", f"c{number}")]
        random.Random(number).shuffle(changes)
        either.change(*changes)
        sent = either.sent()
        assert [kind_of(r.type_url) for r in sent] == [kind_of(type_url) for type_url in ORDER]
        either.accept(*sent)


def test_B36_the_order_in_which_types_were_asked_for_is_not_the_order_of_answers(either: Client) -> None:
    for type_url, *names in ((ROUTES, "r"), (LISTENER,), (ENDPOINTS, "a"), (CLUSTER,)):
        assert either.want(type_url, *names) == []
    either.publish(Snapshot.of([routes("r", "a"), listener("l"), *web("a")]))
    sent = either.sent()
    order = [r.type_url for r in sent]
    assert sorted(order, key=ORDER.index) == order
    assert set(order) == set(ORDER)


def test_S62_routes_under_a_new_name_are_answered_at_once(either: Client) -> None:
    settled(either, *web("a"), listener("l"), routes("r", "a"))
    either.change(listener("l", 81), routes("other", "a"))
    (new_listener,) = either.sent()
    assert new_listener.type_url == LISTENER
    # Envoy asks before it acknowledges: the listener warms until this comes.
    (answer,) = either.want(ROUTES, "r", "other")
    assert names_of(answer) == ["other"]


def test_S62_a_listener_that_keeps_its_routes_name_has_them_already(either: Client) -> None:
    settled(either, *web("a"), listener("l"), routes("r", "a"))
    either.change(listener("l", 81))
    either.accept(*either.sent())
    assert either.sent(after=5) == []


def test_S63_routes_never_name_a_cluster_that_was_not_sent(either: Client) -> None:
    settled(either, *web("c0"), routes("r", "c0"))
    known = {"c0"}
    for number in range(1, 30):
        name = f"c{number}"
        either.change(*web(name), routes("r", "c0", name))
        sent = either.sent(after=0.05)
        for response in sent:
            if response.type_url == CLUSTER:
                known |= set(names_of(response))
            elif response.type_url == ROUTES:
                assert name in known
            if number % 3:  # some answers never come
                either.accept(response)


def test_S64_types_that_are_not_asked_for_are_not_waited_for(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a")]))
    either.accept(*either.want(CLUSTER))
    assert either.sent(after=3600) == []
    assert either.stream.next_try is None, "nor for ever"
    assert [names_of(r) for r in either.want(LISTENER)] == [["l"]]


def test_S65_V13_a_secret_is_answered_as_soon_as_it_is_asked_for(either: Client) -> None:
    settled(either, *web("a"), listener("l"), routes("r", "a"), secret("tls"))
    either.change(*web("b"), routes("r", "a", "b"), cluster("a", 5))
    either.sent()  # nothing of it is answered: clusters warm until they have their secret
    (answer,) = either.want(SECRET, "tls")
    assert names_of(answer) == ["tls"]
    either.change(secret("tls", "rotated"))
    assert SECRET in [r.type_url for r in either.sent(after=1.1)]


def test_S42_S56_what_came_and_went_between_two_responses_is_never_sent(sotw: Client) -> None:
    settled(sotw, *web("a", "b"), routes("r", "a"))
    sotw.change(cluster("a", 5), routes("r", "a", "q"))
    assert len(sotw.sent()) == 3  # clusters, their endpoints, and the routes, all unanswered from here
    sotw.change(cluster("x"))
    assert sotw.sent() == []
    sotw.change(remove=((CLUSTER, "x"),))
    assert sotw.sent() == []
    sotw.change(cluster("b", 9))
    with recorder.diverted():
        assert all("x" not in names_of(r) for _ in range(10) for r in sotw.sent(after=0.5))


def test_S55_a_request_that_needs_no_answer_lets_no_later_route_overtake(delta: Client) -> None:
    settled(delta, *web("a"), listener("l"), routes("r", "a"))
    # Asked for and dropped at once: nothing is due, and so nothing is urgent.
    delta.ask(ROUTES, "x", drop=("x",))
    delta.change(*web("b"), routes("r", "b"))
    assert [r.type_url for r in delta.sent()] == [CLUSTER]


def test_S56_the_time_that_removals_wait_is_their_own(either: Client) -> None:
    settled(either, *web("a", "b"), listener("l"), routes("r", "a"))
    either.change(routes("r", "b"), remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    assert [r.type_url for r in either.sent()] == [ROUTES], "the removal waits for the answer"
    either.now += 10  # the client does not read
    either.change(*web("a"), routes("r", "a"), remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    removals = [r for r in either.sent() if r.type_url == CLUSTER and "b" not in names_of(r)]
    held = [list(r.removed_resources) for r in removals] if either.delta else [names_of(r) for r in removals]
    assert held in ([], [[]]), "it has not waited yet"
