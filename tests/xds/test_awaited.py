"""When a client has answered for a change: after what is superseded, rejected, coalesced, split, taken back, or left open."""

import pytest
from scripted_client import Client, client, cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Outcome, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import Group
from xds_server.xds.sotw import SotwStream

ENVOY = "envoy 1.40.0"


class Change:
    """One change made for a client, and what came of it on its stream."""

    def __init__(self, client: Client, *upsert: Resource, remove: tuple[tuple[str, str], ...] = ()) -> None:
        old = client.group.snapshot
        client.change(*upsert, remove=remove)
        assert client.group.snapshot is not None
        self.outcomes: list[Outcome] = []
        touched = client.group.touched(old, client.group.snapshot)
        self.awaited = client.stream.expect(touched, self.outcomes.append)

    @property
    def kinds(self) -> list[str]:
        return [outcome.kind for outcome in self.outcomes]


@pytest.fixture
def serving_a(either: Client) -> Client:
    """A client that holds cluster a, its endpoints, a listener and routes to it, and has acknowledged all of it."""
    settled(either, *web("a"), listener("l"), routes("r", "a"))
    return either


def test_a_change_is_acknowledged_by_the_answer_to_what_holds_it(serving_a: Client) -> None:
    change = Change(serving_a, endpoints("a", 5))
    (answer,) = serving_a.sent()
    assert change.kinds == []
    serving_a.accept(answer)
    assert change.kinds == ["acknowledged"]
    assert change.outcomes[0].node.id == "n"
    assert change.outcomes[0].stream == serving_a.stream.number


def test_what_a_client_is_not_subscribed_to_does_not_concern_it(serving_a: Client) -> None:
    assert Change(serving_a, endpoints("other")).awaited is None
    assert Change(serving_a, routes("other")).awaited is None
    serving_a.sent(after=10)
    assert Change(serving_a, cluster("other")).awaited is not None, "it takes all clusters"


def test_all_types_have_to_be_answered(serving_a: Client) -> None:
    change = Change(serving_a, *web("b"), routes("r", "a", "b"), listener("l", 81))
    (clusters,) = serving_a.sent()
    asked = serving_a.want(ENDPOINTS, "a", "b")
    assert [names_of(r) for r in asked] == [["b"]], "the client asks for the endpoints of what is new"
    later = serving_a.accept(clusters)
    assert {response.type_url for response in later} == {LISTENER, ROUTES}
    assert change.kinds == []
    later += serving_a.accept(*asked)
    for response in later:
        assert change.kinds == []
        serving_a.accept(response)
    assert change.kinds == ["acknowledged"]


def test_endpoints_that_are_asked_for_in_consequence_are_waited_for_too(serving_a: Client) -> None:
    change = Change(serving_a, *web("b"))
    (clusters,) = serving_a.sent()
    (asked,) = serving_a.want(ENDPOINTS, "a", "b")
    serving_a.accept(clusters)
    assert change.kinds == [], "an Envoy may have these before, but did not say so"
    serving_a.accept(asked)
    assert change.kinds == ["acknowledged"]


def test_a_newer_change_takes_its_place(serving_a: Client) -> None:
    first = Change(serving_a, endpoints("a", 5))
    second = Change(serving_a, endpoints("a", 6))
    (answer,) = serving_a.sent()
    serving_a.accept(answer)
    assert first.kinds == second.kinds == ["acknowledged"], "one answer for both"


def test_one_that_changes_faster_than_it_is_answered_is_not_waited_for_for_ever(either: Client) -> None:
    settled(either, *web("a"))
    change = Change(either, endpoints("a", 100))
    under_way = either.sent()
    for weight in range(101, 105):  # there is always a newer one, under way or waiting
        either.change(endpoints("a", weight))
        under_way += either.sent(after=2)
        assert change.kinds == ([] if weight == 101 else ["acknowledged"])
        either.accept(under_way.pop(0) if either.delta else under_way.pop())


def test_an_answer_to_what_was_sent_before_does_not_count(either: Client) -> None:
    settled(either, *web("a"))
    either.change(endpoints("a", 5))
    (before,) = either.sent()
    change = Change(either, endpoints("a", 6))
    now = either.accept(before)
    assert change.kinds == [] or not either.delta
    now += either.sent()
    assert change.kinds == []
    either.accept(*now)
    assert change.kinds == ["acknowledged"]


def test_an_answer_to_what_came_before_does_not_count_while_both_are_under_way(delta: Client) -> None:
    settled(delta, *web("a"))
    delta.change(endpoints("a", 5))
    (before,) = delta.sent()
    change = Change(delta, endpoints("a", 6))
    (answer,) = delta.sent()
    delta.accept(before)
    assert change.kinds == []
    delta.accept(answer)
    assert change.kinds == ["acknowledged"]


def test_what_is_still_to_be_taken_away_is_waited_for(either: Client) -> None:
    settled(either, *web("a", "b"), listener("l"), routes("r", "a", "b"))
    change = Change(either, cluster("a", 9), routes("r", "a"), remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    assert change.awaited is not None
    clusters, *others = either.sent()
    assert clusters.type_url == CLUSTER
    others += either.accept(clusters)
    assert CLUSTER in change.awaited.types, "b goes when the routes have let go of it"
    while others:
        assert change.kinds == []
        others = either.accept(*others) or (either.sent(after=2) if change.kinds == [] else [])
    assert change.kinds == ["acknowledged"]


def test_S56_a_removal_from_a_full_set_that_is_rejected(sotw: Client) -> None:
    settled(sotw, *web("a", "b"))
    change = Change(sotw, remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    (answer,) = sotw.sent(after=2)
    sotw.reject(answer)
    assert change.kinds == ["rejected"], "no resource in it is new"


def test_a_rejection_is_told_with_the_clients_words_and_whom_they_name(serving_a: Client) -> None:
    change = Change(serving_a, cluster("web-1", 5), cluster("web-2", 5))
    (answer,) = serving_a.sent()
    error = {"nonce": answer.nonce, "error": "Error adding cluster 'web-2': no good"}
    serving_a.ask(CLUSTER, version="" if serving_a.delta else "older", **error)
    (outcome,) = change.outcomes
    assert (outcome.kind, outcome.type_url, outcome.culprits) == ("rejected", CLUSTER, ("web-2",))
    assert outcome.detail == "Error adding cluster 'web-2': no good"
    assert outcome.version == (answer.system_version_info if serving_a.delta else answer.version_info)
    serving_a.change(cluster("web-2", 6))
    serving_a.accept(*serving_a.sent(after=2))
    assert len(change.outcomes) == 1, "told once"


def test_a_rejection_of_another_change_is_not_its_own(serving_a: Client) -> None:
    good = Change(serving_a, cluster("web-1", 5))
    bad = Change(serving_a, cluster("web-2", 5))
    (answer,) = serving_a.sent()
    serving_a.ask(CLUSTER, nonce=answer.nonce, version="" if serving_a.delta else "older", error="web-2: no good")
    assert (good.kinds, bad.kinds) == ([], ["rejected"])
    assert serving_a.sent(after=10) == []
    assert good.kinds == [], "it came in the same response, and is not acknowledged by silence"
    serving_a.change(cluster("web-2", 6))
    serving_a.accept(*serving_a.sent(after=2))
    assert good.kinds == ["acknowledged"]


def test_what_came_in_a_rejected_response_is_waited_for_until_it_is_sent_again(either: Client) -> None:
    settled(either, *web("good", "web-2", "other"))
    change = Change(either, endpoints("good", 5))
    either.change(endpoints("web-2", 5))
    (answer,) = either.sent()
    names = () if either.delta else ("good", "other", "web-2")
    sent = either.ask(
        ENDPOINTS, *names, nonce=answer.nonce, version="" if either.delta else "older", error="web-2: no good"
    )
    assert [names_of(again) for again in sent] == [["good"]]
    either.change(endpoints("other", 5))
    assert change.kinds == [], "it is not accepted yet"
    either.accept(*sent)
    assert change.kinds == ["acknowledged"]


def test_what_came_in_a_rejected_response_and_went_is_not_waited_for(either: Client) -> None:
    settled(either, *web("good", "web-2", "other"))
    change = Change(either, endpoints("good", 5))
    either.change(endpoints("web-2", 5))
    (answer,) = either.sent()
    names = () if either.delta else ("good", "other", "web-2")
    either.ask(ENDPOINTS, *names, nonce=answer.nonce, version="" if either.delta else "older", error="web-2: no good")
    either.want(ENDPOINTS, "other", "web-2")
    either.change(endpoints("other", 5))
    either.accept(*either.sent(after=2))
    assert change.kinds == ["acknowledged"]


def test_a_rejection_of_a_full_set_that_names_nobody_is_one_of_all_that_is_new_in_it(sotw: Client) -> None:
    settled(sotw, *web("a"))
    one, other = Change(sotw, cluster("web-1", 5)), Change(sotw, cluster("web-2", 5))
    sotw.reject(*sotw.sent())
    assert one.kinds == other.kinds == ["rejected"]
    assert one.outcomes[0].culprits == ()


@pytest.mark.parametrize("bad", ["web-1", "web-3"], ids=["tried-first", "left-over"])
def test_whom_a_rejection_that_names_nobody_is_about_is_found_out(either: Client, bad: str) -> None:
    names = ("web-1", "web-2", "web-3", "web-4")
    settled(either, *web(*names))
    changes = {name: Change(either, endpoints(name, 5)) for name in names}
    sent = either.sent()
    while sent:
        (answer,) = sent
        sent = either.reject(answer, "no good") if bad in names_of(answer) else either.accept(answer)
    assert {name: change.kinds for name, change in changes.items()} == {
        name: ["rejected" if name == bad else "acknowledged"] for name in names
    }
    (outcome,) = changes[bad].outcomes
    assert (outcome.culprits, outcome.detail, outcome.type_url) == ((bad,), "no good", ENDPOINTS)
    assert outcome.version


def test_a_rejection_of_what_was_sent_before_is_not_its_own(delta: Client) -> None:
    settled(delta, *web("a", "b"))
    delta.change(endpoints("a", 5))
    (before,) = delta.sent()
    change = Change(delta, endpoints("a", 6))
    (answer,) = delta.sent()
    delta.reject(before)
    assert change.kinds == []
    delta.accept(answer)
    assert change.kinds == ["acknowledged"]


def test_S19_an_error_left_over_from_an_earlier_response_is_no_rejection(sotw: Client) -> None:
    sotw.agent = ENVOY
    settled(sotw, *web("a"))
    change = Change(sotw, cluster("a", 5))
    for answer in sotw.sent():
        sotw.nack(answer, *("a" if answer.type_url == ENDPOINTS else ()), version=answer.version_info)
    assert change.kinds == ["acknowledged"]


def test_a_stream_that_ends_is_not_waited_for(serving_a: Client) -> None:
    change = Change(serving_a, endpoints("a", 5))
    serving_a.sent()
    serving_a.stream.close("gone")
    assert change.kinds == ["left"]


def test_what_came_and_went_is_no_change(serving_a: Client) -> None:
    came = Change(serving_a, *web("b"))
    went = Change(serving_a, remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    assert serving_a.sent(after=10) == []
    assert came.kinds == went.kinds == ["unchanged"]


def test_what_is_taken_away_is_acknowledged_when_the_removal_is(serving_a: Client) -> None:
    change = Change(serving_a, routes("r"), remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    answers = serving_a.sent()
    assert [answer.type_url for answer in answers] == [ROUTES]
    while answers:
        assert change.kinds == []
        answers = serving_a.accept(*answers) or (serving_a.sent(after=2) if change.kinds == [] else [])
    assert change.kinds == ["acknowledged"]


def test_S44_what_sotw_has_no_way_to_take_away_is_not_waited_for(sotw: Client) -> None:
    sotw = client(SotwStream, ENDPOINTS)
    sotw.publish(Snapshot.of([endpoints("a")]))
    sotw.accept(*sotw.want(ENDPOINTS, "a"))
    change = Change(sotw, remove=((ENDPOINTS, "a"),))
    assert sotw.sent() == []
    assert change.kinds == ["unchanged"]


def test_what_is_no_longer_wanted_is_not_waited_for(either: Client) -> None:
    settled(either, *web("a", "b"))
    change = Change(either, endpoints("a", 5))
    either.want(ENDPOINTS, "b")
    assert change.kinds == ["unchanged"]


def test_the_first_snapshot_concerns_whoever_was_held(either: Client) -> None:
    either.ask(CLUSTER)
    either.publish(Snapshot.of(web("a")))
    outcomes: list[Outcome] = []
    either.stream.expect(None, outcomes.append)
    (answer,) = either.sent()
    assert outcomes == []
    either.accept(answer)
    assert [outcome.kind for outcome in outcomes] == ["acknowledged"]


def test_a_move_to_another_group_is_a_change(either: Client) -> None:
    settled(either, *web("a"))
    other = Group("other")
    other.publish(Snapshot.of([cluster("a"), endpoints("a", 9)]))
    either.stream.move(other)
    outcomes: list[Outcome] = []
    either.stream.expect(None, outcomes.append)
    for answer in either.sent():
        assert outcomes == []
        either.accept(answer)
    assert [outcome.kind for outcome in outcomes] == ["acknowledged"]


def test_a_whole_new_snapshot_concerns_whom_it_differs_for(either: Client) -> None:
    settled(either, *web("a"))
    group, old = either.group, either.group.snapshot
    new = Snapshot.of([*web("a"), endpoints("other")])
    either.publish(new)
    assert group.touched(old, new) == {CLUSTER: frozenset(), ENDPOINTS: frozenset({"other"})}


def test_who_does_not_wait_is_not_told(serving_a: Client) -> None:
    change = Change(serving_a, endpoints("a", 5))
    assert change.awaited is not None
    serving_a.stream.forget(change.awaited)
    serving_a.accept(*serving_a.sent())
    serving_a.stream.close()
    assert change.outcomes == []


# Warm: known only of an Envoy that takes its listeners on the same stream


def starting(either: Client, agent: str = ENVOY) -> Client:
    """A client that asks for clusters, and has not yet for listeners."""
    either.agent = agent
    either.publish(Snapshot.of([*web("a"), listener("l")]))
    either.accept(*either.want(CLUSTER), *either.want(ENDPOINTS, "a"))
    return either


def warm(client: Client, *upsert: Resource) -> bool:
    change = Change(client, *upsert)
    client.accept(*client.sent())
    (outcome,) = change.outcomes
    assert outcome.kind == "acknowledged"
    return outcome.warm


def test_S25_clusters_are_not_known_to_be_warm_before_envoy_has_initialised(either: Client) -> None:
    fresh = starting(either)
    assert not warm(fresh, cluster("a", 5))
    fresh.accept(*fresh.want(LISTENER))
    assert warm(fresh, cluster("a", 6))
    assert warm(fresh, endpoints("a", 2)), "nothing had to become warm"


def test_S25_nothing_is_known_to_be_warm_while_clusters_are_not_answered_for(either: Client) -> None:
    fresh = starting(either)
    fresh.accept(*fresh.want(LISTENER))
    fresh.change(cluster("other"))
    (pending,) = fresh.sent()
    assert not warm(fresh, endpoints("a", 2))
    fresh.accept(pending)
    assert warm(fresh, endpoints("a", 3))


@pytest.mark.parametrize("who", ["gRPC C-core 1.85", "xds-relay 1"])
def test_S25_only_an_envoy_says_what_is_warm(either: Client, who: str) -> None:
    other = starting(either, who)
    other.accept(*other.want(LISTENER))
    assert not warm(other, endpoints("a", 2))


def test_S25_a_stream_for_each_type_says_nothing_of_what_is_warm() -> None:
    alone = client(DeltaStream, CLUSTER)
    alone.agent = ENVOY
    alone.publish(Snapshot.of(web("a")))
    alone.accept(*alone.want(CLUSTER))
    assert not warm(alone, cluster("a", 5))
