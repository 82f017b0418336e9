"""Mistakes that control planes have made, where no other file has their test (B15, B17, B33; see docs/conformance.md)."""

from collections.abc import Callable

import pytest
import recorder
from scripted_client import MAKERS, Client, cluster, endpoints, kind_of, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, RUNTIME, SECRET, Snapshot

Open = Callable[[str], Client]


def test_B15_every_one_of_many_changes_in_a_row_arrives(stream_of: Open) -> None:
    for type_url in (CLUSTER, ENDPOINTS):
        here = stream_of(type_url)
        here.publish(Snapshot.of(web("a")))
        here.accept(*here.want(type_url, "a"))
        for number in range(2, 12):
            assert here.change(cluster("a", number), endpoints("a", number))
            (update,) = here.sent()
            body = update.resources[0].resource if here.delta else update.resources[0]
            assert body.value == (cluster if type_url == CLUSTER else endpoints)("a", number).body
            here.accept(update)


@pytest.mark.parametrize("type_url", [SECRET, RUNTIME, EXTENSION_CONFIG], ids=kind_of)
def test_V13_V14_secrets_runtime_layers_and_extensions_go_by_name_and_are_replaced(
    stream_of: Open, type_url: str
) -> None:
    here, make = stream_of(type_url), MAKERS[type_url]
    here.publish(Snapshot.of([make("asked"), make("other")]))
    (first,) = here.want(type_url, "asked")
    assert names_of(first) == ["asked"]
    here.accept(first)
    here.change(make("asked", 2), make("other", 2))
    (second,) = here.sent()
    assert names_of(second) == ["asked"]
    body = second.resources[0].resource if here.delta else second.resources[0]
    assert body.value == make("asked", 2).body


def test_B17_S41_what_was_dropped_while_it_waited_is_not_sent(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    here.want(ENDPOINTS, "a", "b")
    for weight in range(2, 9):  # the response waits, as those before it are not answered
        here.change(endpoints("a", weight), endpoints("b", weight))
        here.sent()
    assert here.want(ENDPOINTS, "b") == []
    assert [names_of(r) for r in here.sent(after=1.1)] == [["b"]]


def test_B33_S13_a_rejection_of_one_type_touches_no_other_and_nothing_is_rolled_back(either: Client) -> None:
    settled(either, *web("a"), listener("l"), routes("r", "a"))
    snapshot = either.group.snapshot
    either.change(*web("a", seconds=5), listener("l", 81), routes("r", "a", "b"))
    for response in either.sent():
        if response.type_url == LISTENER:
            either.reject(response)
        else:
            either.accept(response)
    assert either.sent(after=3600) == []
    assert either.group.snapshot is not snapshot
    assert [kind_of(event.type_url) for event in either.told("rejected")] == ["Listener"]
    either.change(endpoints("a", 9), routes("r", "a"))
    assert [r.type_url for r in either.sent()] == [ENDPOINTS, ROUTES]


def test_B1_B33_a_client_that_refuses_everything_is_left_alone(either: Client) -> None:
    either.publish(Snapshot.of([*web("a"), listener("l"), routes("r", "a")]))
    for type_url, *names in ((CLUSTER,), (ENDPOINTS, "a"), (LISTENER,), (ROUTES, "r")):
        sent = either.want(type_url, *names)
        while sent:
            sent = [again for response in sent for again in either.reject(response)]
    assert either.sent(after=3600) == []
    assert either.stream.next_try is None


def test_S17_D28_what_came_and_went_unsent_is_no_reason_to_speak(stream_of: Open) -> None:
    here = stream_of(CLUSTER)
    here.publish(Snapshot.of([cluster("a")]))
    here.want(CLUSTER)
    for seconds in range(2, 5 if here.delta else 2):  # as many unanswered as there may be
        here.change(cluster("a", seconds))
        assert len(here.sent()) == 1
    here.change(cluster("x"))
    assert here.sent() == []
    here.change(remove=((CLUSTER, "x"),))
    with recorder.diverted():
        assert here.sent(after=3600) == []


def test_D8_D18_a_name_that_is_asked_for_and_held_and_gone_is_removed_once(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a")))
    with recorder.diverted():
        sent = delta.ask(CLUSTER, "*", "gone", held={"gone": "1"}) + delta.sent(after=5)
    assert [name for r in sent for name in r.removed_resources] == ["gone"]
