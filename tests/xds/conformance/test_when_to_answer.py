"""When there is an answer and when there is none: first requests, ACKs, stale nonces (S14 to S17, S24 to S33)."""

from collections.abc import Callable

import pytest
from scripted_client import Client, cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES, Snapshot

Open = Callable[[str], Client]


def test_S14_a_first_request_is_answered_at_once_or_as_soon_as_there_is_something(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    assert [names_of(r) for r in here.want(ENDPOINTS, "a")] == [["a"]]
    there = stream_of(ENDPOINTS)
    there.publish(Snapshot.of(web("a")))
    first = there.want(ENDPOINTS, "b")
    assert [names_of(r) for r in first] == ([[]] if there.delta else []), "D8: delta says that there is none"
    there.accept(*first)
    assert there.sent(after=3600) == []
    assert there.stream.next_try is None, "no polling"
    there.change(endpoints("b"))
    assert [names_of(r) for r in there.sent()] == [["b"]]


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER, SCOPED_ROUTES], ids=["clusters", "listeners", "scopes"])
def test_S15_D32_B14_a_wildcard_without_resources_is_answered_and_empty(stream_of: Open, type_url: str) -> None:
    here = stream_of(type_url)
    here.publish(Snapshot.of([endpoints("a")]))
    (answer,) = here.want(type_url)
    assert (answer.type_url, names_of(answer)) == (type_url, [])
    assert here.accept(answer) == []
    assert here.sent(after=3600) == []


def test_S16_B34_nothing_is_said_before_there_is_a_snapshot(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    assert here.want(CLUSTER) == []
    assert here.sent(after=3600) == []
    here.publish(Snapshot.of(web("a")))
    (answer,) = here.sent()
    assert names_of(answer) == ["a"]


def test_S17_an_ack_is_not_answered(stream_of: Open) -> None:
    for type_url in (CLUSTER, ENDPOINTS):
        here = stream_of(type_url)
        here.publish(Snapshot.of(web("a")))
        (answer,) = here.want(type_url, *("a" if type_url == ENDPOINTS else ()))
        assert here.accept(answer) == []
        assert here.accept(answer) == [], "nor the same one again"
        assert here.sent(after=3600) == []
        assert [event.kind for event in here.events] == ["opened", "subscribed", "sent", "acknowledged"]


def test_S24_a_client_that_never_answers_still_gets_the_newest_state(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    either.ask(CLUSTER)
    newest = []
    for seconds in range(2, 9):
        either.change(cluster("a", seconds))
        newest += either.sent(after=0.2)
    assert [r.type_url for r in newest] == [CLUSTER] * 7, "each waits a tenth of a second at most"


def test_S25_P11_B6_no_type_waits_for_the_answer_to_clusters(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a")]))
    either.want(CLUSTER)
    for type_url, name in ((ENDPOINTS, "a"), (LISTENER, "l"), (ROUTES, "r")):
        assert [names_of(r) for r in either.want(type_url, name)] == [[name]]
    either.change(endpoints("a", 5))
    assert [names_of(r) for r in either.sent(after=1.1)] == [["a"]]


def test_S26_a_silent_or_odd_answer_to_endpoints_is_no_reason_to_send_them_again(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (first,) = sotw.want(ENDPOINTS, "a")
    sotw.accept(first)
    sotw.change(endpoints("a", 2))
    (second,) = sotw.sent()
    # Without a watch left, Envoy takes the nonce, keeps its version and reports no error.
    assert sotw.ask(ENDPOINTS, "a", nonce=second.nonce, version=first.version_info) == []
    assert sotw.told("rejected") == []
    sotw.change(endpoints("a", 3))
    (third,) = sotw.sent()
    assert sotw.sent(after=3600) == [], "never answered at all"
    assert third.nonce != second.nonce


def test_S27_a_stale_nonce_is_no_answer(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (first,) = sotw.want(ENDPOINTS, "a")
    sotw.accept(first)
    sotw.change(endpoints("a", 2))
    (second,) = sotw.sent()
    before = len(sotw.events)
    assert sotw.accept(first) == []
    assert sotw.reject(first) == []
    assert len(sotw.events) == before, "neither an ACK nor a NACK is told"
    sotw.accept(second)
    assert sotw.told("acknowledged")[-1].nonce == second.nonce


def test_S28_a_stale_request_still_subscribes(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (first,) = sotw.ask(ENDPOINTS, "a")
    sotw.ack(first, "a")
    sotw.change(endpoints("a", 2))
    (second,) = sotw.sent()
    assert [names_of(r) for r in sotw.ack(first, "a", "b")] == [["b"]]
    assert len(sotw.told("acknowledged")) == 1
    assert second.nonce != first.nonce


def test_S28_after_a_nack_the_nonce_of_the_last_good_response_still_subscribes(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    (good,) = sotw.want(ENDPOINTS, "a")
    sotw.accept(good)
    sotw.change(endpoints("a", 2))
    (refused,) = sotw.sent()
    sotw.reject(refused)
    assert [names_of(r) for r in sotw.ack(good, "a", "b")] == [["b"]]


def test_S29_P5_one_response_of_a_type_is_under_way_at_a_time(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a")))
    (first,) = sotw.want(ENDPOINTS, "a")
    for weight in range(2, 9):
        sotw.change(endpoints("a", weight))
        assert sotw.sent(after=0.1) == []
    assert len(sotw.accept(first)) == 1


def test_S30_an_empty_nonce_after_everything_was_answered_is_a_new_subscription(stream_of: Open) -> None:
    for type_url, names in ((ENDPOINTS, "a"), (CLUSTER, "")):
        here = stream_of(type_url)
        here.publish(Snapshot.of(web("a")))
        (answer,) = here.ask(type_url, *names)
        here.ack(answer, *names)
        assert [names_of(r) for r in here.ask(type_url, *names)] == ([["a"]] if names or not here.delta else [])


def test_S31_B20_a_nonce_on_a_new_stream_makes_it_no_less_a_first_request(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    here.publish(Snapshot.of(web("a")))
    (answer,) = here.ask(CLUSTER, nonce="77", version="" if here.delta else "old")
    assert names_of(answer) == ["a"]
    assert here.told("acknowledged") == here.told("rejected") == []


def test_S32_an_empty_nonce_that_crosses_an_answer_adds_only_its_new_names(sotw: Client) -> None:
    sotw.publish(Snapshot.of(web("a", "b")))
    sotw.ask(ENDPOINTS, "a")
    assert [names_of(r) for r in sotw.ask(ENDPOINTS, "a", "b")] == [["b"]]


def test_S32_a_burst_of_requests_is_answered_once_per_name(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    names = [f"c{number}" for number in range(50)]
    here.publish(Snapshot.of(web(*names)))
    message = here.stream.request
    for number in range(1, 51):  # before the server gets a word in
        asked = (
            {"resource_names_subscribe": names[number - 1 : number]}
            if here.delta
            else {"resource_names": names[:number]}
        )
        request = message(type_url=ENDPOINTS, **asked)
        request.node.id = "n"
        here.stream.receive(request)
    (answer,) = here.sent()
    assert sorted(names_of(answer)) == sorted(names)


def test_S33_P8_versions_that_pass_unsent_are_skipped(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    unanswered = here.want(ENDPOINTS, "a")
    for weight in range(2, 20):
        here.change(endpoints("a", weight))
        unanswered += here.sent()
    assert len(unanswered) == (4 if here.delta else 1), "as many as may be under way"
    last = here.accept(*unanswered)
    assert [names_of(r) for r in last] == [["a"]]
    body = last[0].resources[0].resource if here.delta else last[0].resources[0]
    assert body.value == endpoints("a", 19).body


def test_S33_two_changes_before_a_word_are_both_sent(either: Client) -> None:
    settled(either, *web("a", "b"), routes("r", "a"))
    assert either.change(endpoints("a", 2))
    assert either.change(endpoints("b", 2))
    assert {name for r in either.sent() for name in names_of(r)} == {"a", "b"}
