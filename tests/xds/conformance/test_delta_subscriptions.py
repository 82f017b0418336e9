"""Incremental xDS: what is asked for, and what is answered to that (D1 to D12, D38, D39, D44, D50)."""

from collections.abc import Callable

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from scripted_client import MAKERS, Client, cluster, endpoints, kind_of, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Snapshot

Open = Callable[[str], Client]


def test_D1_one_request_may_add_drop_and_acknowledge(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b", "c")))
    (answer,) = here.ask(ENDPOINTS, "a")
    (second,) = here.ask(ENDPOINTS, "b", "c", drop=("a",), nonce=answer.nonce)
    assert names_of(second) == ["b", "c"]
    assert len(here.told("acknowledged")) == 1
    assert not here.change(endpoints("a", 2))
    assert here.change(endpoints("b", 2))


def test_D1_what_is_added_and_dropped_in_one_request_is_dropped(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    assert here.ask(ENDPOINTS, "a", drop=("a",)) == []
    assert not here.change(endpoints("a", 2))


def test_D2_a_request_with_a_stale_or_unknown_nonce_still_subscribes(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b", "c")))
    (first,) = here.ask(ENDPOINTS, "a")
    here.ack(first)
    assert [names_of(r) for r in here.ask(ENDPOINTS, "b", nonce=first.nonce)] == [["b"]]
    assert [names_of(r) for r in here.ask(ENDPOINTS, "c", nonce="never sent", drop=("a",))] == [["c"]]
    assert not here.change(endpoints("a", 2)), "and unsubscribes"


def test_D3_a_request_that_says_nothing_is_not_answered(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(web("a")))
    here.accept(*here.want(CLUSTER))
    assert here.ask(CLUSTER) == []
    assert here.sent(after=3600) == []


def test_D5_names_do_not_end_a_wildcard(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(web("a", "b")))
    here.accept(*here.ask(CLUSTER))
    (again,) = here.ask(CLUSTER, "a")
    assert names_of(again) == ["a"], "D7: asked for, so answered"
    here.ack(again)
    here.change(cluster("b", 3))
    assert [names_of(r) for r in here.sent()] == [["b"]]
    here.ask(CLUSTER, drop=("*",))
    here.change(cluster("b", 4))
    assert here.sent(after=1) == []
    here.change(cluster("a", 4))
    assert [names_of(r) for r in here.sent(after=1)] == [["a"]]


def test_D6_a_star_and_names_together_are_both(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(web("a", "b")))
    (answer,) = here.ask(CLUSTER, "*", "on-demand")
    assert (names_of(answer), list(answer.removed_resources)) == (["a", "b"], ["on-demand"])
    here.ask(CLUSTER, drop=("*",))
    here.change(cluster("a", 3), cluster("on-demand"))
    assert [names_of(r) for r in here.sent()] == [["on-demand"]]


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_D7_a_name_is_answered_even_if_the_client_should_hold_it(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    here.publish(Snapshot.of([MAKERS[type_url]("a"), MAKERS[type_url]("b")]))
    here.accept(*here.ask(type_url, "a", "b"))
    for _ in range(3):
        (again,) = here.ask(type_url, "a")
        assert names_of(again) == ["a"]
        here.ack(again)


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_D8_a_missing_name_is_denied_at_once_and_sent_when_it_comes(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    here.publish(Snapshot.of([MAKERS[type_url]("a")]))
    (answer,) = here.ask(type_url, "a", "later")
    assert (names_of(answer), list(answer.removed_resources)) == (["a"], ["later"])
    assert here.accept(answer) == []
    assert here.sent(after=3600) == [], "once"
    here.change(MAKERS[type_url]("later"))
    assert [names_of(r) for r in here.sent()] == [["later"]]


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_D9_B7_removing_a_resource_keeps_the_subscription(delta_of: Open, type_url: str) -> None:
    here = delta_of(type_url)
    here.publish(Snapshot.of([MAKERS[type_url]("a")]))
    here.accept(*here.ask(type_url, "a"))
    here.change(remove=((type_url, "a"),))
    (removal,) = here.sent()
    assert (names_of(removal), list(removal.removed_resources)) == ([], ["a"])
    assert here.accept(removal) == []
    assert here.sent(after=3600) == [], "said once"
    here.change(MAKERS[type_url]("a"))
    assert [names_of(r) for r in here.sent()] == [["a"]]


def test_D10_dropping_what_was_never_asked_for_is_ignored(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    here.ask(ENDPOINTS, "a")
    assert here.ask(ENDPOINTS, drop=("a", "never-asked")) == []
    assert here.ask(ENDPOINTS, drop=("a",)) == []
    assert not here.change(endpoints("a", 2))


def test_D11_dropping_a_name_under_a_wildcard_is_answered(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(web("a")))
    here.ask(CLUSTER, "*", "a", "odd")
    (still,) = here.ask(CLUSTER, drop=("a",))
    assert names_of(still) == ["a"]
    (gone,) = here.ask(CLUSTER, drop=("odd",))
    assert list(gone.removed_resources) == ["odd"]


def test_D38_a_cluster_on_demand_is_answered_at_once_there_or_not(delta_of: Open) -> None:
    here = delta_of(CLUSTER)
    here.publish(Snapshot.of(web("there")))
    (denied,) = here.ask(CLUSTER, "missing")
    assert (names_of(denied), list(denied.removed_resources)) == ([], ["missing"])
    (found,) = here.ask(CLUSTER, "there")  # before the first one is answered
    assert (names_of(found), list(found.removed_resources)) == (["there"], [])


def test_D39_a_missing_cluster_on_demand_is_pushed_when_it_appears(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    delta.accept(*delta.ask(CLUSTER))
    (denied,) = delta.ask(CLUSTER, "missing")
    assert list(denied.removed_resources) == ["missing"]
    delta.accept(denied)
    delta.change(cluster("missing"))
    assert [names_of(r) for r in delta.sent()] == [["missing"]]


def test_D44_fields_that_no_client_uses_are_ignored(delta_of: Open) -> None:
    here = delta_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINTS, resource_names_subscribe=["a"])
    request.node.id = "n"
    request.resource_locators_subscribe.add(name="b").dynamic_parameters["env"] = "prod"
    request.resource_locators_unsubscribe.add(name="a")
    here.stream.receive(request)
    assert [names_of(r) for r in here.sent()] == [["a"]]


def test_D50_a_type_that_was_not_asked_for_is_never_sent(either: Client) -> None:
    either.publish(Snapshot.of(web("a")))
    either.accept(*either.want(CLUSTER))
    for number in range(2, 6):
        either.change(*(make(f"x{number}", number) for make in MAKERS.values()))
        sent = either.sent(after=3)
        assert {r.type_url for r in sent} == {CLUSTER}
        either.accept(*sent)
    assert LISTENER not in either.stream._watches
