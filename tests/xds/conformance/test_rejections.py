"""NACKs: how they are known, what they leave behind, and when what was refused is sent again (S18 to S23, D30, D31)."""

from collections.abc import Callable

from scripted_client import Client, cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot

Open = Callable[[str], Client]


def test_S18_B2_a_nack_is_known_by_its_error_and_not_by_its_version(sotw: Client) -> None:
    settled(sotw, *web("a"))
    sotw.change(cluster("a", 5))
    (response, *_) = sotw.sent()
    # gRPC: the new version, as a part of it was good.
    assert sotw.nack(response, version=response.version_info) == []
    (rejected,) = sotw.told("rejected")
    assert (rejected.version, rejected.detail) == (response.version_info, "no good")
    assert rejected.applied
    # Envoy: an ACK of the old version is not a NACK of the new one.
    sotw.change(cluster("a", 6))
    (response, *_) = sotw.sent(after=1)
    sotw.ask(CLUSTER, nonce=response.nonce, version="an old one")
    assert len(sotw.told("rejected")) == 1


def test_B2_a_rejection_is_seen_at_an_unchanged_version(sotw: Client) -> None:
    sotw.publish(Snapshot.of([endpoints("a"), endpoints("b")], versions={ENDPOINTS: "v1"}))
    (first,) = sotw.want(ENDPOINTS, "a")
    sotw.accept(first)
    (second,) = sotw.want(ENDPOINTS, "a", "b")
    assert second.version_info == first.version_info == "v1"
    assert sotw.nack(second, "a", "b", version="v1") == []
    assert [event.names for event in sotw.told("rejected")] == [("b",)]


def test_S19_an_error_left_over_from_before_is_told_as_applied_and_takes_nothing_back(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("a")]))
    sotw.accept(*sotw.want(CLUSTER))
    sotw.change(cluster("a", 5))
    (refused,) = sotw.sent()
    assert sotw.reject(refused) == []
    sotw.change(cluster("a", 6))
    (good,) = sotw.sent()
    # Envoy takes the new version and repeats the old error in the same request.
    assert sotw.nack(good, version=good.version_info) == []
    assert [event.applied for event in sotw.told("rejected")] == [False, True]
    assert sotw.sent(after=3600) == []


def test_S20_D30_B1_what_was_rejected_is_not_sent_again_until_it_changes(stream_of: Open) -> None:
    for type_url in (CLUSTER, ENDPOINTS):
        here = stream_of(type_url)
        here.publish(Snapshot.of(web("a", "b")))
        (answer,) = here.want(type_url, *("ab" if type_url == ENDPOINTS else ()))
        parts = here.reject_all(answer)
        assert [names_of(part) for part in parts] == ([] if type_url == CLUSTER and not here.delta else [["a"], ["b"]])
        assert here.reject(answer) == []
        assert here.sent(after=3600) == []
        here.change(listener("l"), routes("r", "a"))
        assert here.sent(after=3600) == [], "another type is no reason"
        here.change(cluster("a", 2), endpoints("a", 2))
        assert "a" in names_of(here.sent()[0])


def test_S21_what_changed_meanwhile_is_sent_on_the_nack_at_once(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a")))
    (answer,) = here.want(ENDPOINTS, "a")
    here.change(endpoints("a", 2))
    early = here.sent()  # delta does not wait for the answer
    assert early == [] or here.delta
    sent = early + here.reject(answer)
    assert [names_of(r) for r in sent] == [["a"]]
    assert sent[0].nonce != answer.nonce


def test_S22_D1_a_nack_may_change_the_subscription(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b")))
    (answer,) = here.want(ENDPOINTS, "a")
    sent = here.nack(answer, *(["b"] if here.delta else ["a", "b"]))
    assert [names_of(r) for r in sent] == [["b"]], "and nothing of what was rejected"
    assert len(here.told("rejected")) == 1


def test_S23_D31_what_was_rejected_beside_a_resource_is_sent_without_it(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("good", "bad", "other")))
    here.accept(*here.want(ENDPOINTS, "good", "bad", "other"))
    here.change(endpoints("good", 2), endpoints("bad", 2))
    (answer,) = here.sent()
    (part,) = here.reject(answer)
    assert names_of(part) == ["bad"]
    here.change(endpoints("other", 2))
    assert [names_of(r) for r in here.sent()] == ([["other"]] if here.delta else []), "delta waits for no answer"
    sent = here.reject(part)
    sent += here.accept(*sent)
    assert [names_of(r) for r in sent] == [["good"]] if here.delta else [["other"], ["good"]]
    here.accept(*sent)
    here.change(endpoints("bad", 3))
    (sent,) = here.sent()
    assert names_of(sent) == ["bad"]
    # Rejected again: no other try before it changes itself.
    assert here.reject(sent) == []
    here.change(endpoints("other", 4))
    assert [names_of(r) for r in here.sent(after=2)] == [["other"]]


def test_S23_S41_a_second_try_is_only_for_what_is_still_asked_for(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of(web("a", "b", "c")))
    (answer,) = here.want(ENDPOINTS, "a", "b", "c")
    (part,) = here.reject(answer)
    assert names_of(part) == ["a"]
    here.want(ENDPOINTS, "a", "c")
    here.change(endpoints("a", 2), remove=((ENDPOINTS, "c"),))
    sent = here.sent() + here.accept(part)
    sent += [again for response in sent for again in here.accept(response)]
    assert [names_of(r) for r in sent if r.resources] == [["a"]]
    assert here.sent(after=3600) == []


def test_S20_a_whole_set_that_was_rejected_is_sent_once_when_a_part_changes(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("a"), cluster("b")]))
    (answer,) = sotw.want(CLUSTER)
    sotw.reject(answer)
    sotw.change(cluster("a", 2))
    (answer,) = sotw.sent()
    assert names_of(answer) == ["a", "b"]
    assert sotw.accept(answer) == []
    assert sotw.sent(after=3600) == []


def test_S23_D31_after_a_rejection_only_what_changes_is_sent(delta: Client) -> None:
    delta.publish(Snapshot.of(web("a", "b", "c")))
    (answer,) = delta.want(CLUSTER)
    delta.reject_all(answer)
    delta.change(cluster("d"))
    assert [names_of(r) for r in delta.sent()] == [["d"]]


def test_S23_P20_rejected_resources_that_are_removed_are_forgotten(either: Client) -> None:
    settled(either, *web("keep", "other"))
    for number in range(5):
        either.change(endpoints("keep", number + 2), endpoints("other", number + 2))
        either.reject_all(*either.sent(after=2))
    quarantine = either.stream._watches[ENDPOINTS].quarantine
    assert set(quarantine.refused) == {"keep", "other"}
    either.change(remove=((ENDPOINTS, "keep"), (ENDPOINTS, "other")))
    either.sent(after=3)
    assert (quarantine.refused, quarantine.due, quarantine._cases, quarantine._held) == ({}, False, [], [])


def test_S23_D31_what_was_rejected_beside_a_resource_is_tried_again_when_that_goes(stream_of: Open) -> None:
    here = stream_of(ENDPOINTS)
    here.publish(Snapshot.of([endpoints("good"), endpoints("bad")]))
    (answer,) = here.want(ENDPOINTS, "good", "bad")
    (part,) = here.reject(answer)
    here.change(remove=((ENDPOINTS, "bad"),))
    here.sent()
    assert [names_of(r) for r in here.reject(part) + here.sent(after=3)] == [["good"]]


def test_D20_a_rejected_removal_is_not_repeated_for_what_is_back(delta: Client) -> None:
    delta.publish(Snapshot.of([endpoints("a")]))
    (answer,) = delta.want(ENDPOINTS, "a", "b")
    assert list(answer.removed_resources) == ["b"]
    delta.change(endpoints("b"))
    (back,) = delta.sent()
    delta.reject(answer)  # which was sent before
    delta.accept(back)
    delta.change(remove=((ENDPOINTS, "b"),))
    assert [list(r.removed_resources) for r in delta.sent(after=3)] == [["b"]], "once"
    assert delta.sent(after=3600) == []


def test_D20_P20_a_rejection_leaves_nothing_behind_of_what_is_not_asked_for_any_more(delta: Client) -> None:
    delta.publish(Snapshot.of([endpoints("a"), endpoints("b")]))
    (answer,) = delta.want(ENDPOINTS, "a", "b", "c")
    delta.want(ENDPOINTS)
    delta.reject(answer)
    watch = delta.stream._watches[ENDPOINTS]
    assert (watch.quarantine.refused, watch.must_make, watch.refused_removals) == ({}, False, set())
