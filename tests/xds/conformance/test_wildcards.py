"""Everything of a type: how it is asked for, and what only looks like it (S46 to S50)."""

from collections.abc import Callable

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from scripted_client import BY_NAME, MAKERS, WHOLE, Client, cluster, kind_of, names_of, web

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot

Open = Callable[[str], Client]


@pytest.mark.parametrize("type_url", WHOLE, ids=kind_of)
def test_S46_D4_no_names_at_first_mean_everything_and_go_on_to(stream_of: Open, type_url: str) -> None:
    here = stream_of(type_url)
    here.publish(Snapshot.of(WHOLE[type_url](name) for name in "ab"))
    (answer,) = here.want(type_url)
    assert names_of(answer) == ["a", "b"]
    here.accept(answer)
    here.change(WHOLE[type_url]("c", 7))
    (answer,) = here.sent()
    assert "c" in names_of(answer)
    here.accept(answer)
    here.change(WHOLE[type_url]("d", 8))
    assert "d" in names_of(here.sent()[0])


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S46_D4_a_star_means_everything_of_any_type(stream_of: Open, type_url: str) -> None:
    make = MAKERS[type_url]
    here = stream_of(type_url)
    here.publish(Snapshot.of(make(name) for name in "ab"))
    (answer,) = here.want(type_url, "*")
    assert names_of(answer) == ["a", "b"]
    here.accept(answer)
    here.change(make("c"))
    assert "c" in names_of(here.sent()[0])


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S46_D4_D7_a_star_that_comes_later_brings_everything(stream_of: Open, type_url: str) -> None:
    make = MAKERS[type_url]
    here = stream_of(type_url)
    here.publish(Snapshot.of(make(name) for name in "abc"))
    here.accept(*here.want(type_url, "a"))
    (answer,) = here.want(type_url, "a", "*")
    assert {"b", "c"} <= set(names_of(answer))
    here.accept(answer)
    here.change(make("d"))
    assert "d" in names_of(here.sent()[0])


def test_S15_D32_a_star_that_comes_later_is_answered_even_if_there_is_nothing(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    here.publish(Snapshot.of(web("a")))
    here.accept(*here.want(CLUSTER, "a"))
    here.change(remove=((CLUSTER, "a"),))
    here.accept(*here.sent())
    (answer,) = here.want(CLUSTER, "a", "*")
    assert names_of(answer) == []


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S30_a_star_without_a_nonce_after_everything_was_answered_starts_over(sotw: Client, type_url: str) -> None:
    sotw.publish(Snapshot.of(MAKERS[type_url](name) for name in "ab"))
    (answer,) = sotw.ask(type_url, "*")
    sotw.ack(answer, "*")
    assert [names_of(r) for r in sotw.ask(type_url, "*")] == [["a", "b"]]


@pytest.mark.parametrize("type_url", WHOLE, ids=kind_of)
def test_S47_names_end_the_wildcard_and_no_names_then_mean_nothing(sotw: Client, type_url: str) -> None:
    make = WHOLE[type_url]
    sotw.publish(Snapshot.of([make("a"), make("b")]))
    (answer,) = sotw.want(type_url, "*", "a")
    assert names_of(answer) == ["a", "b"]
    sotw.accept(answer)
    assert sotw.want(type_url, "a") == []
    sotw.change(make("b", 5))
    assert sotw.sent(after=1) == []
    sotw.change(make("a", 6))
    (answer,) = sotw.sent(after=1)
    assert names_of(answer) == ["a"]
    sotw.accept(answer)
    assert sotw.want(type_url) == []
    sotw.change(make("a", 7), make("b", 8))
    assert sotw.sent(after=1) == []


@pytest.mark.parametrize("type_url", BY_NAME, ids=kind_of)
def test_S48_S49_B18_no_names_of_a_named_type_mean_nothing_and_not_everything(stream_of: Open, type_url: str) -> None:
    make = BY_NAME[type_url]
    here = stream_of(type_url)
    here.publish(Snapshot.of([make("a"), make("b")]))
    assert here.ask(type_url) == []
    assert here.sent(after=3600) == []
    here.change(make("c"))
    assert here.sent(after=3600) == []
    assert [names_of(r) for r in here.want(type_url, "b")] == [["b"]]


@pytest.mark.parametrize("type_url", MAKERS, ids=kind_of)
def test_S49_no_names_any_more_is_unsubscribed(sotw: Client, type_url: str) -> None:
    make = MAKERS[type_url]
    sotw.publish(Snapshot.of([make("a"), make("b")]))
    sotw.accept(*sotw.want(type_url, "a"))
    assert sotw.want(type_url) == []
    assert not sotw.change(make("a", 7), make("c"))
    assert sotw.sent(after=3600) == []


@pytest.mark.parametrize("type_url", [ENDPOINTS, CLUSTER], ids=kind_of)
def test_S50_an_empty_name_is_a_name_that_does_not_exist(stream_of: Open, type_url: str) -> None:
    here = stream_of(type_url)
    here.publish(Snapshot.of(web("a")))
    sent = here.want(type_url, "")
    assert [names_of(r) for r in sent] == ([[]] if here.delta else [])
    assert [list(r.removed_resources) for r in sent] == ([[""]] if here.delta else [])
    here.change(*web("b"))
    assert here.sent(after=3600) == []


def test_S42_what_is_asked_for_by_name_after_everything_is_taken_away_too(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("a"), cluster("b")]))
    (held,) = sotw.want(CLUSTER, "*")
    request = discovery_pb2.DiscoveryRequest(
        type_url=CLUSTER, resource_names=["b"], response_nonce=held.nonce, version_info=held.version_info
    )
    sotw.stream.receive(request)
    sotw.change(remove=((CLUSTER, "b"),))  # before it was answered
    assert [names_of(answer) for answer in sotw.sent(after=3)] == [[]], "it may still hold it"
