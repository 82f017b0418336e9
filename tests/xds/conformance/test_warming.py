"""Clusters that a client rebuilds are given their endpoints again, unasked (S54, S57, S58, S61, D13, D14, B3 to B5)."""

from scripted_client import Client, cluster, endpoints, names_of, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot


def test_S57_D13_B3_a_changed_cluster_is_followed_by_its_endpoints(either: Client) -> None:
    settled(either, *web("a", "b"))
    either.change(cluster("a", 9))  # the endpoints' own content and version stay
    first, second = either.sent()
    assert (first.type_url, second.type_url) == (CLUSTER, ENDPOINTS)
    assert names_of(second) == ["a"], "at once, and only those of the changed one"


def test_S57_a_cluster_that_is_new_is_followed_by_endpoints_that_are_not(either: Client) -> None:
    settled(either, cluster("a"), endpoints("a"), endpoints("b"))
    either.change(cluster("b"))
    assert [(r.type_url, names_of(r)[-1]) for r in either.sent()] == [(CLUSTER, "b"), (ENDPOINTS, "b")]


def test_S57_B3_unanswered_endpoints_delay_it_for_a_second_at_most(either: Client) -> None:
    settled(either, *web("a", "b"))
    for weight in range(2, 8):
        either.change(endpoints("b", weight))
        either.sent()
    either.change(cluster("a", 9))
    sent = either.sent() + either.sent(after=1)
    assert [r.type_url for r in sent if r.type_url == CLUSTER or "a" in names_of(r)] == [CLUSTER, ENDPOINTS]


def test_S57_every_change_of_the_cluster_is_followed_by_endpoints(either: Client) -> None:
    settled(either, *web("a"))
    for seconds in range(2, 30):
        either.change(cluster("a", seconds))
        first, second = either.sent()
        assert (first.type_url, second.type_url) == (CLUSTER, ENDPOINTS)
        either.accept(second, first)


def test_S58_the_repeated_request_that_envoy_sends_is_answered_by_the_push(sotw: Client) -> None:
    settled(sotw, *web("a"))
    acknowledged = sotw.told("acknowledged", ENDPOINTS)[-1]
    sotw.change(cluster("a", 9))
    clusters, pushed = sotw.sent()
    # While it rebuilds the cluster: the same names, version and nonce as in its last ACK, before it saw the push.
    repeated = {"nonce": acknowledged.nonce, "version": acknowledged.version}
    assert sotw.ask(ENDPOINTS, "a", **repeated) == [], "what it asks for is under way"
    assert names_of(pushed) == ["a"]
    assert sotw.accept(pushed, clusters) == []


def test_S61_B5_a_late_ack_of_endpoints_does_not_count_for_the_cluster_that_was_sent_since(either: Client) -> None:
    settled(either, *web("a"))
    either.change(endpoints("a", 5))
    (early,) = either.sent()
    either.change(cluster("a", 9))
    sent = either.sent()
    assert sent[0].type_url == CLUSTER
    sent += either.accept(early)  # late: the client rebuilds the cluster, and drops what this acknowledges
    sent += either.accept(sent[0])
    assert [names_of(r) for r in sent if r.type_url == ENDPOINTS] == [["a"]], "sent again"


def test_B4_a_nack_of_endpoints_and_a_rebuilt_cluster_do_not_loop(either: Client) -> None:
    settled(either, *web("a"))
    either.change(endpoints("a", 5))
    (refused,) = either.sent()
    assert either.reject(refused) == []
    either.change(cluster("a", 9))
    clusters, again = either.sent()
    assert names_of(again) == ["a"], "the cluster has none without them"
    assert either.reject(again) == []
    assert either.accept(clusters) == []
    assert either.sent(after=3600) == []


def test_D14_endpoints_asked_for_before_clusters_are_sent_again_after_them(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    (early,) = either.want(ENDPOINTS, "a")
    assert names_of(early) == ["a"]
    either.accept(early)
    clusters, again = either.want(CLUSTER)
    assert (clusters.type_url, again.type_url, names_of(again)) == (CLUSTER, ENDPOINTS, ["a"])
