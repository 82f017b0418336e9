"""State of the world, in the words of the protocol. Numbers are those of the conformance list."""

from scripted_client import Client, cluster, endpoints, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot


def test_s48_endpoints_without_names_mean_nothing_not_everything(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    assert sotw.ask(ENDPOINTS) == []
    assert [names_of(r) for r in sotw.ask(ENDPOINTS, "b")] == [["b"]]


def test_s35_names_added_under_an_unchanged_version_are_answered(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (first,) = sotw.ask(ENDPOINTS, "a")
    (second,) = sotw.ack(first, "a", "b")
    assert names_of(second) == ["b"]
    assert second.version_info == first.version_info


def test_s36_a_name_dropped_and_asked_again_is_sent_again(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (first,) = sotw.ask(ENDPOINTS, "a")
    assert sotw.ack(first) == []
    (second,) = sotw.ack(first, "a")
    assert names_of(second) == ["a"]


def test_s39_a_missing_name_is_remembered_in_silence(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (answer,) = sotw.ask(ENDPOINTS, "a", "later")
    assert names_of(answer) == ["a"]
    assert sotw.ack(answer, "a", "later") == []
    sotw.change(endpoints("later"))
    assert [names_of(r) for r in sotw.sent()] == [["later"]]


def test_s47_names_end_the_wildcard_and_no_names_then_mean_nothing(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (answer,) = sotw.ask(CLUSTER, "*", "a")
    assert names_of(answer) == ["a", "b"]
    sotw.ack(answer, "a")
    sotw.change(cluster("b", 5))
    assert sotw.sent(after=1) == []
    sotw.ack(answer)
    sotw.change(cluster("a", 5))
    assert sotw.sent(after=1) == []


def test_s22_a_nack_may_change_the_subscription(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (answer,) = sotw.ask(ENDPOINTS, "a")
    assert [names_of(r) for r in sotw.nack(answer, "a", "b")] == [["b"]]


def test_s28_a_stale_request_still_subscribes(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (first,) = sotw.ask(ENDPOINTS, "a")
    sotw.ack(first, "a")
    sotw.change(endpoints("a", 2))
    (second,) = sotw.sent()
    assert [names_of(r) for r in sotw.ack(first, "a", "b")] == [["b"]]
    assert [e.kind for e in sotw.events].count("acknowledged") == 1
    assert second.nonce != first.nonce


def test_s42_clusters_are_always_the_full_set(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (answer,) = sotw.ask(CLUSTER)
    sotw.ack(answer)
    sotw.change(cluster("a", 5))
    assert [names_of(r) for r in sotw.sent()] == [["a", "b"]]


def test_s42_a_removal_alone_is_one_response(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (answer,) = sotw.ask(CLUSTER)
    sotw.ack(answer)
    sotw.change(remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    assert [names_of(r) for r in sotw.sent()] == [["b"]]


def test_s67_an_equal_version_of_a_whole_set_is_not_sent_again(sotw: Client) -> None:
    snapshot = Snapshot.of(web("a"))
    sotw.publish(snapshot)
    assert sotw.ask(CLUSTER, version=snapshot.version(CLUSTER)) == []
    sotw.change(cluster("a", 5))
    assert [names_of(r) for r in sotw.sent()] == [["a"]]


def test_s67_named_types_are_always_answered_on_a_new_stream(sotw: Client) -> None:
    snapshot = Snapshot.of(web("a"))
    sotw.publish(snapshot)
    assert len(sotw.ask(ENDPOINTS, "a", version=snapshot.version(ENDPOINTS))) == 1


def test_s31_a_nonce_of_another_stream_is_a_first_request(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    assert len(sotw.ask(CLUSTER, nonce="77", version="old")) == 1


def test_s30_an_empty_nonce_after_everything_was_answered_is_a_new_subscription(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (answer,) = sotw.ask(ENDPOINTS, "a")
    sotw.ack(answer, "a")
    assert [names_of(r) for r in sotw.ask(ENDPOINTS, "a")] == [["a"]]


def test_s32_an_empty_nonce_that_crosses_an_answer_adds_only_its_new_names(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    sotw.ask(ENDPOINTS, "a")
    assert [names_of(r) for r in sotw.ask(ENDPOINTS, "a", "b")] == [["b"]]


def test_s33_versions_that_pass_unsent_are_skipped(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (answer,) = sotw.ask(ENDPOINTS, "a")
    for weight in range(2, 9):
        sotw.change(endpoints("a", weight))
        assert sotw.sent() == []
    assert len(sotw.ack(answer, "a")) == 1
