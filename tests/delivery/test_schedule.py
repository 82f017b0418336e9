"""The next moment of many keys."""

import random

from xds_server.delivery.schedule import Schedule


def test_keys_fall_due_in_order_and_once() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.next is None
    schedule.put("late", 9)
    schedule.put("soon", 3)
    assert schedule.next == 3
    assert schedule.due(2.9) == set()
    assert schedule.due(3) == {"soon"}
    assert schedule.due(8) == set()
    assert schedule.next == 9


def test_a_key_has_one_moment() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 3)
    schedule.put("a", 7)
    assert (schedule.due(5), schedule.next) == (set(), 7)
    schedule.put("a", None)
    assert schedule.next is None


def test_many_changes_leave_nothing_behind() -> None:
    schedule: Schedule[int] = Schedule()
    random_ = random.Random(1)
    wanted: dict[int, float] = {}
    for _ in range(20_000):
        key, moment = random_.randrange(100), random_.choice([None, random_.random()])
        schedule.put(key, moment)
        wanted.pop(key, None) if moment is None else wanted.update({key: moment})
    assert len(schedule._heap) <= 300
    assert schedule.next == min(wanted.values())
    assert schedule.due(0.5) == {key for key, moment in wanted.items() if moment <= 0.5}
