"""What a client refuses is kept from it alone until it changes, and everything else moves on (S20, S23, S42, D30, D31, P22)."""

from collections.abc import Callable
from typing import Any

import pytest
from coming_and_going import ComingAndGoing
from scripted_client import Client, client, cluster, endpoints, kind_of, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import Group
from xds_server.xds.sotw import SotwStream

Open = Callable[[str], Client]
BAD = "Error adding/updating bad: no such file"


def body_of(response: Any, name: str) -> bytes:
    """What a response holds under a name."""
    index = names_of(response).index(name)
    entry = response.resources[index]
    value: bytes = entry.value if hasattr(entry, "value") else entry.resource.value
    return value


def refuse_bad(here: Client) -> list[Any]:
    """It holds clusters good and bad, both change, and it refuses one. Returns what follows."""
    settled(here, *web("good", "bad"))
    here.change(cluster("good", 2), cluster("bad", 2))
    (answer,) = [response for response in here.sent() if response.type_url == CLUSTER]
    return [response for response in here.reject(answer, BAD) if response.type_url == CLUSTER]


@pytest.mark.parametrize("type_url", [CLUSTER, ENDPOINTS], ids=kind_of)
def test_S23_D31_P22_the_others_are_sent_again_at_once_and_the_culprit_is_not(stream_of: Open, type_url: str) -> None:
    here, make = stream_of(type_url), cluster if type_url == CLUSTER else endpoints
    here.publish(Snapshot.of([make("good"), make("bad"), make("other")]))
    here.accept(*here.want(type_url, *(("good", "bad", "other") if type_url == ENDPOINTS else ())))
    here.change(make("good", 2), make("bad", 2))
    (answer,) = here.sent()
    (again,) = here.reject(answer, BAD)
    assert body_of(again, "good") == make("good", 2).body
    if here.delta or type_url == ENDPOINTS:
        assert names_of(again) == ["good"]
    else:
        assert names_of(again) == ["bad", "good", "other"], "absent would be deleted (S42)"
        assert body_of(again, "bad") == make("bad").body
    assert here.accept(again) == []
    here.change(make("other", 2))
    (later,) = here.sent()
    assert body_of(later, "other") == make("other", 2).body
    assert make("bad", 2).body not in [body_of(later, name) for name in names_of(later)]
    here.accept(later)
    assert here.sent(after=3600) == []
    here.change(make("bad", 3))
    (mended,) = here.sent()
    assert body_of(mended, "bad") == make("bad", 3).body
    assert here.accept(mended) == []
    assert here.sent(after=3600) == []


def test_S20_B1_each_further_culprit_is_kept_back_as_well(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints(f"e-{number}") for number in range(5)]))
    sent = here.want(ENDPOINTS, *(f"e-{number}" for number in range(5)))
    for number in range(5):
        assert names_of(sent[0]) == [f"e-{n}" for n in range(number, 5)]
        sent = here.reject(sent[0], f"'e-{number}' is wrong")
    assert sent == []
    assert here.sent(after=3600) == []


def test_S20_B1_no_more_than_eight_responses_follow_from_a_rejection(stream_of: Open) -> None:
    names = [f"e-{number:02}" for number in range(40)]
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints(name) for name in names]))
    (answer,) = here.want(ENDPOINTS, *names)
    assert len(here.reject_all(answer)) == 8
    assert here.sent(after=3600) == []
    assert set(refused(here)) == set(names), "all of them are told to be held"


def test_S20_B1_whole_sets_are_sent_eight_times_more_at_most() -> None:
    here = client(SotwStream)
    names = [f"c-{number:02}" for number in range(20)]
    here.publish(Snapshot.of([cluster(name) for name in names]))
    sent = here.want(CLUSTER)
    for count, name in enumerate(names):
        assert len(sent) == (1 if count < 9 else 0)
        if not sent:
            break
        sent = here.reject(sent[0], f"'{name}' is wrong")
    assert here.sent(after=3600) == []


@pytest.mark.parametrize("bad", [0, 7, 31])
def test_S23_D31_without_a_name_the_culprit_is_found_by_halves(stream_of: Open, bad: int) -> None:
    names = [f"e-{number:02}" for number in range(32)]
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints(name) for name in names]))
    waiting = here.want(ENDPOINTS, *names)
    accepted: set[str] = set()
    count = 0
    while waiting:
        count += 1
        response = waiting.pop(0)
        if names[bad] in names_of(response):
            waiting += here.reject(response)
        else:
            accepted |= set(names_of(response))
            waiting += here.accept(response)
    assert accepted == {*names} - {names[bad]}
    assert count <= 9
    assert [(event.names, event.detail) for event in here.told("quarantined")] == [((names[bad],), "no good")]


def test_S20_S42_a_whole_set_without_a_name_is_held_as_it_is(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("a")]))
    sotw.accept(*sotw.want(CLUSTER))
    sotw.change(cluster("a", 2), cluster("b"))
    assert sotw.reject(sotw.sent()[0]) == []
    assert sotw.told("quarantined") == []
    sotw.change(cluster("c"))
    assert [names_of(response) for response in sotw.sent()] == [["a", "b", "c"]]


def test_S42_what_was_never_accepted_is_left_out_of_a_whole_set(sotw: Client) -> None:
    settled(sotw, *web("good"))
    sotw.change(*web("bad"), cluster("good", 2))
    (answer,) = [response for response in sotw.sent() if response.type_url == CLUSTER]
    (again, *_) = sotw.reject(answer, BAD)
    assert names_of(again) == ["good"]


def test_S42_a_first_set_is_sent_again_without_what_is_bad(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("good"), cluster("bad")]))
    (answer,) = sotw.want(CLUSTER)
    assert [names_of(again) for again in sotw.reject(answer, BAD)] == [["good"]]


def test_S16_S42_a_first_set_of_bad_ones_alone_is_not_followed_by_an_empty_one(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("bad")]))
    (answer,) = sotw.want(CLUSTER)
    assert sotw.reject(answer, BAD) == []


def test_S20_a_set_whose_only_change_is_refused_is_not_repeated(sotw: Client) -> None:
    settled(sotw, *web("good", "bad"))
    sotw.change(cluster("bad", 2))
    (answer,) = [response for response in sotw.sent() if response.type_url == CLUSTER]
    assert sotw.reject(answer, BAD) == [], "it holds just that"
    sotw.change(cluster("good", 3))
    (later, *_) = sotw.sent()
    assert body_of(later, "bad") == cluster("bad").body


def test_S42_what_may_be_held_in_a_version_that_is_not_known_is_not_left_out(sotw: Client) -> None:
    """The first response to it was overtaken before it was answered."""
    settled(sotw, *web("good"))
    sotw.change(*web("bad"))
    sotw.sent()
    sotw.change(cluster("bad", 2))
    (answer,) = [response for response in sotw.sent(after=0.2) if response.type_url == CLUSTER]
    assert sotw.reject(answer, BAD) == []
    sotw.change(cluster("good", 3))
    (later, *_) = [response for response in sotw.sent() if response.type_url == CLUSTER]
    assert names_of(later) == ["bad", "good"]


def test_S42_a_name_that_was_bad_in_an_earlier_response_is_found_in_a_later_one(sotw: Client) -> None:
    settled(sotw, *web("good", "bad"))
    sotw.change(cluster("bad", 2))
    sotw.sent()
    sotw.change(cluster("good", 2))
    (answer,) = [response for response in sotw.sent(after=0.2) if response.type_url == CLUSTER]
    (again, *_) = sotw.reject(answer, BAD)
    assert body_of(again, "bad") == cluster("bad").body
    assert body_of(again, "good") == cluster("good", 2).body


def test_S19_an_error_that_is_left_over_keeps_nothing_back(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("bad")]))
    sotw.stream.receive(sotw.stream.request(type_url=CLUSTER, node={"id": "n", "user_agent_name": "envoy"}))
    sotw.accept(*sotw.sent())
    sotw.change(cluster("bad", 2))
    sotw.reject(sotw.sent()[0], BAD)
    sotw.change(cluster("bad", 3))
    (mended,) = sotw.sent()
    assert sotw.nack(mended, version=mended.version_info, error=BAD) == []
    assert refused(sotw) == {}


def test_S27_D29_a_rejection_of_what_changed_meanwhile_keeps_nothing_back(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints("bad"), endpoints("good")]))
    (answer,) = here.want(ENDPOINTS, "bad", "good")
    here.change(endpoints("bad", 2))
    sent = here.sent() + here.reject(answer, BAD)
    assert sorted(names_of(response) for response in sent + here.accept(sent[0])) == [["bad"], ["good"]]
    assert refused(here) == {}


def test_D7_S36_what_is_asked_for_anew_is_sent_anew(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints("bad"), endpoints("good")]))
    (answer,) = here.want(ENDPOINTS, "bad", "good")
    (again,) = here.reject(answer, BAD)
    here.accept(again)
    here.want(ENDPOINTS, "good")
    assert [names_of(response) for response in here.want(ENDPOINTS, "bad", "good")] == [["bad"]]


def test_S57_the_endpoints_of_a_rebuilt_cluster_are_tried_again(either: Client) -> None:
    settled(either, *web("bad", "good"))
    either.change(endpoints("bad", 2))
    either.reject(either.sent()[0], BAD)
    either.change(cluster("bad", 2))
    assert [(r.type_url, names_of(r)) for r in either.sent() if r.type_url == ENDPOINTS] == [(ENDPOINTS, ["bad"])]


def test_D20_what_was_taken_away_by_a_rejected_response_is_said_again_at_once(delta: Client) -> None:
    settled(delta, *web("bad", "old"))
    delta.change(cluster("bad", 2), remove=((CLUSTER, "old"), (ENDPOINTS, "old")))
    (answer,) = [response for response in delta.sent(after=3) if response.type_url == CLUSTER]
    assert list(answer.removed_resources) == ["old"]
    (again,) = delta.reject(answer, BAD)
    assert (names_of(again), list(again.removed_resources)) == ([], ["old"])
    assert delta.reject(again) == []
    assert delta.sent(after=3600) == []


def test_S55_S56_the_last_good_version_stays_until_routes_have_moved_on(sotw: Client) -> None:
    """When what is kept back is removed, it leaves as the version that the client holds."""
    (again, *_) = refuse_bad(sotw)
    sotw.accept(again)
    sotw.change(cluster("new"), listener("l"), remove=((CLUSTER, "bad"), (ENDPOINTS, "bad")))
    sent = [response for response in sotw.sent() if response.type_url == CLUSTER]
    assert body_of(sent[0], "bad") == cluster("bad").body
    sent = sotw.accept(sent[0]) + sotw.sent(after=3)
    assert [names_of(response) for response in sent if response.type_url == CLUSTER] == [["good", "new"]]


def test_P22_B33_no_other_client_and_no_other_type_is_affected(stream_of: Open) -> None:
    group = Group("g")
    kind = DeltaStream if stream_of(CLUSTER).delta else SotwStream
    first, second = (Client(kind(lambda node: group, observe=events.append), group, events) for events in ([], []))
    group.publish(Snapshot.of([cluster("bad"), listener("l")]))
    for one in (first, second):
        one.accept(*one.want(CLUSTER), *one.want(LISTENER))
    change = group.snapshot.change([cluster("bad", 2), listener("l", 81)]) if group.snapshot else Snapshot.of()
    old = group.snapshot
    group.publish(change)
    for one in (first, second):
        one.stream.advance(old, change)
    for response in first.sent():
        if response.type_url == CLUSTER:
            assert [r.type_url for r in first.reject(response, BAD)] in ([], [LISTENER])
        else:
            first.accept(response)
    sent = second.sent()
    assert [(r.type_url, body_of(r, names_of(r)[0])) for r in sent] == [
        (CLUSTER, cluster("bad", 2).body),
        (LISTENER, listener("l", 81).body),
    ]
    second.accept(*sent)
    assert (refused(first), refused(second)) == ({"bad": BAD}, {})


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER, ENDPOINTS], ids=kind_of)
def test_S20_D30_what_was_refused_and_gone_is_tried_again_when_it_comes_back(stream_of: Open, type_url: str) -> None:
    here = stream_of(type_url)
    make = {CLUSTER: cluster, LISTENER: listener, ENDPOINTS: endpoints}[type_url]
    here.publish(Snapshot.of([make("bad")]))
    (answer,) = here.want(type_url, *(["bad"] if type_url == ENDPOINTS else []))
    here.reject(answer, BAD)
    here.sent(after=3600)
    here.change(remove=((type_url, "bad"),))
    here.sent(after=3600)
    here.change(make("bad"))
    (again,) = here.sent(after=3600)
    assert names_of(again) == ["bad"]


# Streams that come after


def test_S67_D30_a_new_stream_tries_once_more_and_keeps_it_back_again(either: Client) -> None:
    node = ComingAndGoing(type(either.stream))
    first = node.connect()
    (again, *_) = refuse_bad(first)
    first.accept(again)
    first.stream.close()
    second = node.connect()
    held = {"good": cluster("good", 2).version, "bad": cluster("bad").version}
    (answer,) = second.ask(CLUSTER, **({"held": held} if second.delta else {"version": again.version_info}))
    assert body_of(answer, "bad") == cluster("bad", 2).body
    assert second.nack(answer, error=BAD) == [], "it holds all the rest"
    second.change(cluster("good", 3))
    (later,) = second.sent()
    assert second.delta or body_of(later, "bad") == cluster("bad").body
    assert second.delta or names_of(later) == ["bad", "good"]


def test_S70_S42_after_a_restart_what_the_client_holds_is_not_known_and_so_not_left_out(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("good"), cluster("bad", 2)]))
    (answer,) = sotw.ask(CLUSTER, version="of before")
    assert sotw.nack(answer, version="of before", error=BAD) == []
    sotw.change(cluster("good", 2))
    (later,) = sotw.sent()
    assert names_of(later) == ["bad", "good"]


def test_S70_after_a_restart_the_history_knows_what_it_was(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("good"), cluster("bad", 2)]))
    (answer,) = sotw.ask(CLUSTER, version="of before")
    assert sotw.nack(answer, version="of before", error=BAD) == []
    (sought,) = sotw.stream.sought()
    assert sought == cluster("bad", 2)
    assert sotw.stream.sought() == [], "it is asked for once"
    sotw.stream.found(sought, cluster("bad", 1))
    assert refused(sotw) == {"bad": BAD}
    (again,) = sotw.sent()
    assert body_of(again, "bad") == cluster("bad", 1).body
    # It refuses that one, too: there is nothing better to put in its place.
    assert sotw.nack(again, version="of before", error=BAD) == []
    assert sotw.stream.sought() == []
    sotw.change(cluster("good", 2))
    assert body_of(sotw.sent()[0], "bad") == cluster("bad", 1).body


@pytest.mark.parametrize("since", ["changed", "gone", "asked for anew"])
def test_S70_what_the_history_says_too_late_counts_no_more(sotw: Client, since: str) -> None:
    sotw.publish(Snapshot.of([cluster("good"), cluster("bad", 2)]))
    (answer,) = sotw.ask(CLUSTER, version="of before")
    sotw.nack(answer, version="of before", error=BAD)
    (sought,) = sotw.stream.sought()
    if since == "changed":
        sotw.change(cluster("bad", 3))
    elif since == "gone":
        sotw.change(remove=((CLUSTER, "bad"),))
    else:
        sotw.ask(CLUSTER)
    sotw.sent(after=10)
    sotw.stream.found(sought, cluster("bad", 1))
    assert refused(sotw) == {}
    assert sotw.sent(after=3600) == []


# Telling


def refused(here: Client) -> dict[str, str]:
    (watch,) = [watch for watch in here.stream._watches.values() if watch.type_url in (CLUSTER, ENDPOINTS)][:1]
    return watch.quarantine.refused


def test_P22_what_is_kept_back_is_told_and_what_is_no_more(either: Client) -> None:
    (again, *_) = refuse_bad(either)
    either.accept(again)
    (kept_back,) = either.told("quarantined")
    assert (kept_back.type_url, kept_back.names, kept_back.detail) == (CLUSTER, ("bad",), BAD)
    assert kept_back.node is not None
    assert either.told("released") == []
    either.change(cluster("bad", 3))
    either.sent()
    (released,) = either.told("released")
    assert (released.type_url, released.names) == (CLUSTER, ("bad",))
    either.change(cluster("bad", 4))
    either.sent(after=1)
    assert len(either.told("released")) == 1


@pytest.mark.parametrize("how", ["removed", "not wanted"])
def test_P20_what_is_gone_or_not_wanted_is_told_to_be_released(stream_of: Open, how: str) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints("bad")]))
    here.reject(here.want(ENDPOINTS, "bad")[0], BAD)
    if how == "removed":
        here.change(remove=((ENDPOINTS, "bad"),))
    else:
        here.want(ENDPOINTS, "other")
    here.sent()
    assert [event.names for event in here.told("released")] == [("bad",)]
    assert refused(here) == {}


def test_S55_S63_routes_wait_for_a_cluster_that_was_never_accepted_and_is_mended(either: Client) -> None:
    settled(either, *web("good"), listener("l"), routes("r", "good"))
    either.change(*web("bad"))
    (answer,) = [response for response in either.sent() if response.type_url == CLUSTER]
    either.reject(answer, BAD)
    either.sent()
    either.change(cluster("bad", 2), routes("r", "good", "bad"))
    sent = either.sent()
    assert ROUTES not in [response.type_url for response in sent]
    (mended,) = [response for response in sent if response.type_url == CLUSTER]
    assert ROUTES in [response.type_url for response in either.accept(mended)]
