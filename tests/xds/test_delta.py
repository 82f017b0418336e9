"""Incremental xDS, in the words of the protocol. Numbers are those of the conformance list."""

from scripted_client import Client, cluster, endpoints, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, ROUTES, Snapshot


def test_d5_names_do_not_end_a_wildcard(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a", "b")))
    (answer,) = delta.ask(CLUSTER)
    delta.ack(answer)
    (again,) = delta.ask(CLUSTER, "a")
    assert names_of(again) == ["a"], "D7: asked for, so answered"
    delta.ack(again)
    delta.change(cluster("b", 3))
    assert [names_of(r) for r in delta.sent()] == [["b"]]
    delta.ask(CLUSTER, drop=("*",))
    delta.change(cluster("b", 4))
    assert delta.sent(after=1) == []
    delta.change(cluster("a", 4))
    assert [names_of(r) for r in delta.sent(after=1)] == [["a"]]


def test_d8_a_missing_name_is_denied_at_once_and_sent_when_it_comes(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    (answer,) = delta.ask(ENDPOINTS, "a", "later")
    assert (names_of(answer), list(answer.removed_resources)) == (["a"], ["later"])
    delta.change(endpoints("later"))
    assert [names_of(r) for r in delta.sent()] == [["later"]]


def test_d9_removing_a_resource_keeps_the_subscription(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    delta.ask(ENDPOINTS, "a")
    delta.change(remove=((ENDPOINTS, "a"),))
    (removal,) = delta.sent()
    assert list(removal.removed_resources) == ["a"]
    delta.change(endpoints("a", 2))
    assert [names_of(r) for r in delta.sent()] == [["a"]]


def test_d11_dropping_a_name_under_a_wildcard_is_answered(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    delta.ask(CLUSTER, "*", "a", "odd")
    (still,) = delta.ask(CLUSTER, drop=("a",))
    assert names_of(still) == ["a"]
    (gone,) = delta.ask(CLUSTER, drop=("odd",))
    assert list(gone.removed_resources) == ["odd"]


def test_d10_dropping_a_name_is_not_answered(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    delta.ask(ENDPOINTS, "a")
    assert delta.ask(ENDPOINTS, drop=("a", "never-asked")) == []
    assert not delta.change(endpoints("a", 2))


def test_d12_dropped_and_asked_again_is_sent_again(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    delta.ask(ENDPOINTS, "a")
    delta.ask(ENDPOINTS, drop=("a",))
    assert [names_of(r) for r in delta.ask(ENDPOINTS, "a")] == [["a"]]


def test_d18_a_returning_client_gets_what_differs(delta: Client) -> None:
    snapshot = Snapshot.of(web("same", "changed", "new"))
    delta.publish(snapshot)
    same = snapshot.get(CLUSTER, "same")
    assert same is not None
    (answer,) = delta.ask(CLUSTER, held={"same": same.version, "changed": "old", "vanished": "x"})
    assert (names_of(answer), list(answer.removed_resources)) == (["changed", "new"], [])
    # Its routes may still use what vanished: they had no chance to change yet.
    delta.ack(answer)
    (removal,) = delta.sent(after=2.1)
    assert (names_of(removal), list(removal.removed_resources)) == ([], ["vanished"])


def test_d18_a_returning_client_that_holds_everything_is_sent_nothing(delta: Client) -> None:
    snapshot = Snapshot.of(web("a"))
    delta.publish(snapshot)
    held = snapshot.get(CLUSTER, "a")
    assert held is not None
    assert delta.ask(CLUSTER, held={"a": held.version}) == []


def test_d19_named_types_are_sent_again_on_a_new_stream(delta: Client) -> None:
    snapshot = Snapshot.of(web("a"))
    delta.publish(snapshot)
    held = snapshot.get(ENDPOINTS, "a")
    assert held is not None
    assert [names_of(r) for r in delta.ask(ENDPOINTS, "a", held={"a": held.version})] == [["a"]]


def test_d29_up_to_four_responses_may_be_under_way_and_are_matched_by_nonce(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    (first,) = delta.ask(ENDPOINTS, "a")
    flying = [first]
    for weight in range(2, 9):
        delta.change(endpoints("a", weight))
        flying += delta.sent()
    assert len(flying) == 4
    delta.nack(flying[2])
    delta.ack(flying[1])
    answered = [(e.kind, e.nonce) for e in delta.events if e.kind in ("acknowledged", "rejected")]
    assert answered == [("rejected", flying[2].nonce), ("acknowledged", flying[1].nonce)]


def test_a_returning_client_waits_for_new_clusters_like_any_other(delta: Client) -> None:
    snapshot = Snapshot.of([*web("a"), routes("r", "a")])
    delta.publish(snapshot)
    held = snapshot.get(CLUSTER, "a")
    assert held is not None
    assert delta.ask(CLUSTER, held={"a": held.version}) == []
    delta.ack(delta.ask(ROUTES, "r")[0])
    delta.change(*web("b"), routes("r", "a", "b"))
    assert [r.type_url for r in delta.sent()] == [CLUSTER]


def test_a_returning_clients_routes_let_go_before_its_clusters_are_removed(delta: Client) -> None:
    delta.publish(Snapshot.of([*web("green"), routes("r", "green")]))
    (clusters,) = delta.ask(CLUSTER, held={"blue": "x"})
    assert list(clusters.removed_resources) == []
    delta.ack(clusters)
    (new_routes,) = delta.ask(ROUTES, "r")
    assert [list(r.removed_resources) for r in delta.ack(new_routes)] == [["blue"]]


def test_d29_an_answer_that_comes_late_still_counts(delta: Client) -> None:
    settled(delta, *web("a", "gone"))
    delta.change(remove=((ENDPOINTS, "gone"),))
    (removal,) = delta.sent()
    for weight in range(2, 9):
        delta.change(endpoints("a", weight))
        delta.sent(after=1.1)
    delta.nack(removal)
    assert delta.events[-1].kind == "rejected"
    delta.change(endpoints("a", 99))
    assert ["gone"] in [list(r.removed_resources) for r in delta.sent(after=1.1)], "D20: the client may still hold it"
