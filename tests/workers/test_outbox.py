"""What a worker is told: only what changed, encoded once for all, and the newest state alone once it reads again."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_client import cluster, endpoints

from xds_server.delivery.audience import EVERYONE
from xds_server.fleet import Commit
from xds_server.workers import frames_pb2, messages
from xds_server.workers.mirror import Mirror
from xds_server.workers.outbox import Outbox
from xds_server.xds import CLUSTER, Snapshot

ALL = EVERYONE.name


def told(outbox: Outbox) -> Any:
    """The next message; None for none."""
    frame = outbox.next()
    return frame.kind.FromString(frame.body) if frame is not None else None


@pytest.fixture
def mirror() -> Mirror:
    """A hundred clusters, served to everyone."""
    mirror = Mirror()
    mirror.serve(ALL, Snapshot.of([cluster(f"c{number}") for number in range(100)]))
    return mirror


def change(mirror: Mirror, *upsert: Any, remove: tuple[tuple[str, str], ...] = (), group: str = ALL) -> Snapshot:
    snapshot = mirror.snapshot(group)
    assert snapshot is not None
    changed = snapshot.change(upsert, remove)
    mirror.serve(group, changed)
    return changed


def test_a_new_worker_is_told_everything_and_then_what_changes(mirror: Mirror) -> None:
    outbox = mirror.join()
    (whole,) = told(outbox).steps
    assert (whole.group, whole.is_whole, len(whole.upsert)) == (ALL, True, 100)
    assert told(outbox) is None
    change(mirror, cluster("c7", 9), remove=((CLUSTER, "c8"),))
    (step,) = told(outbox).steps
    assert ([each.name for each in step.upsert], [each.name for each in step.remove]) == (["c7"], ["c8"])
    assert not step.is_whole
    assert told(outbox) is None


def test_what_it_makes_of_that_has_the_same_versions(mirror: Mirror) -> None:
    outbox, there = mirror.join(), None
    for number in (1, 2, 3):
        here = change(mirror, cluster("c1", number), endpoints(f"e{number}"), remove=((CLUSTER, f"c9{number}"),))
        (step,) = told(outbox).steps
        there = messages.applied(step, there)
        assert there is not None
        assert [*there] == [*here]
        assert [each.body for each in there] == [each.body for each in here]
        assert [each.references for each in there] == [each.references for each in here]
        assert {type_url: there.version(type_url) for type_url in here.types} == {
            type_url: here.version(type_url) for type_url in here.types
        }


def test_one_that_does_not_read_is_told_the_newest_state_alone(mirror: Mirror) -> None:
    slow = mirror.join()
    assert told(slow)
    for number in range(2, 500):
        change(mirror, cluster("c1", number), cluster(f"c{number % 3}", number))
        mirror.published(Commit(number, float(number)))
    newest = change(mirror, cluster("c2", 1))
    update = told(slow)
    (step,) = update.steps
    assert sorted(each.name for each in step.upsert) == ["c0", "c1"], "c2 is what it was"
    assert {each.name: each.version for each in step.upsert}["c1"] == newest.get(CLUSTER, "c1").version  # type: ignore[union-attr]
    assert (update.revision, update.committed_at) == (499, 499.0)
    assert told(slow) is None


def test_a_change_is_encoded_once_for_all(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    make = messages.resource_message
    monkeypatch.setattr(messages, "resource_message", lambda each: encoded.append(each.name) or make(each))
    outboxes = [mirror.join() for _ in range(3)]
    assert len({told(outbox).SerializeToString() for outbox in outboxes}) == 1
    assert len(encoded) == 100
    change(mirror, cluster("c7", 9))
    assert len({told(outbox).SerializeToString() for outbox in outboxes}) == 1
    assert encoded[100:] == ["c7"]
    for _ in range(2):
        assert told(mirror.join()).steps
    assert len(encoded) == 301, "what everybody has is not kept for the next one"


def test_who_is_behind_is_led_to_what_is_served_now(mirror: Mirror) -> None:
    one, behind = mirror.join(), mirror.join()
    assert told(one).steps
    assert told(behind).steps
    change(mirror, cluster("c7", 9))
    assert [each.name for each in told(one).steps[0].upsert] == ["c7"]
    change(mirror, cluster("c8", 9))
    assert [each.name for each in told(one).steps[0].upsert] == ["c8"]
    assert [each.name for each in told(behind).steps[0].upsert] == ["c7", "c8"]


def test_only_groups_in_which_it_has_clients(mirror: Mirror) -> None:
    one, other = mirror.join(), mirror.join()
    assert told(one)
    assert told(other)
    mirror.serve("mine", Snapshot.of([cluster("m")]))
    assert told(one) is told(other) is None
    one.want("mine")
    assert [step.group for step in told(one).steps] == ["mine"]
    assert mirror.wanted == {ALL, "mine"}
    change(mirror, cluster("m", 2), group="mine")
    assert [step.group for step in told(one).steps] == ["mine"]
    assert told(other) is None
    one.drop("mine")
    change(mirror, cluster("m", 3), group="mine")
    assert told(one) is None
    one.want("mine")
    (step,) = told(one).steps
    assert step.is_whole, "it forgot what it had"


def test_a_group_that_is_not_served_yet_is_told_once_it_is() -> None:
    mirror = Mirror()
    outbox = mirror.join()
    outbox.want("mine")
    assert told(outbox) is None
    mirror.serve("mine", Snapshot.of([cluster("m")]))
    assert [step.group for step in told(outbox).steps] == ["mine"]


def test_revisions_are_told_also_where_nothing_of_theirs_is_served(mirror: Mirror) -> None:
    outbox = mirror.join()
    mirror.published(Commit(5, 50.0))
    first = told(outbox)
    assert first.revision == 5
    assert not first.HasField("committed_at"), "how long it took a worker to start is no matter of a revision"
    mirror.published(Commit(6, 60.0))
    update = told(outbox)
    assert (update.revision, update.committed_at, [*update.steps]) == (6, 60.0, [])
    change(mirror, cluster("c1", 3))
    assert told(outbox).revision == -1, "new addresses are no revision"


def test_selectors_are_told_when_they_change(mirror: Mirror) -> None:
    outbox = mirror.join()
    assert not told(outbox).HasField("selectors")
    mirror.select({"": False, '{"ids":["a"]}': True})
    update = told(outbox)
    assert {each.key: each.by_place for each in update.selectors.selectors} == {"": False, '{"ids":["a"]}': True}
    assert told(mirror.join()).HasField("selectors"), "also to who comes later"
    mirror.select({})
    update = told(outbox)
    assert update.HasField("selectors")
    assert not update.selectors.selectors


def test_that_nothing_was_ever_written_is_told_as_that() -> None:
    mirror = Mirror()
    outbox = mirror.join()
    mirror.serve(ALL, Snapshot.unwritten())
    (step,) = told(outbox).steps
    there = messages.applied(step, None)
    assert there is not None
    assert there.is_unwritten
    change(mirror)
    (step,) = told(outbox).steps
    there = messages.applied(step, there)
    assert there is not None
    assert not there.is_unwritten


def test_answers_come_first(mirror: Mirror) -> None:
    outbox = mirror.join()
    outbox.answer(frames_pb2.Found(number=3))
    assert told(outbox).number == 3
    assert told(outbox).steps


def test_one_that_left_is_told_nothing_and_wants_nothing(mirror: Mirror) -> None:
    outbox, rings = mirror.join(), []
    outbox.ring = lambda: rings.append(1)
    outbox.want("mine")
    mirror.leave(outbox)
    rings.clear()
    change(mirror, cluster("c1", 2))
    assert mirror.wanted == set()
    assert not rings


def test_a_step_that_begins_elsewhere_is_not_taken() -> None:
    assert messages.applied(frames_pb2.Step(group=ALL), None) is None
