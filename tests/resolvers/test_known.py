"""What is known of a name as answers come: what replaces what, what lingers, and for how long."""

import pytest

from xds_server.delivery.resolving import questions
from xds_server.resolvers import Answer, Question, SrvAddress
from xds_server.resolvers.known import Known
from xds_server.resolvers.questions import Source
from xds_server.upstreams.model import Upstream


def known(*answers: tuple[float, Answer], **terms: float) -> Known:
    made = Known(Question("a", **{"linger": 100, "min_ttl": 5, **terms}))  # type: ignore[arg-type]
    for at, answer in answers:
        made.learn(answer, at)
    return made


def srv(priority: int, address: str, weight: int = 1) -> SrvAddress:
    return SrvAddress(priority, weight, f"{address}.test", address, 80)


def test_an_address_that_left_the_answer_lingers_and_then_goes() -> None:
    made = known((0, Answer(("1", "2"))), (10, Answer(("2", "3"))))
    assert made.addresses == ("1", "2", "3")
    assert made.next_to_leave == 110
    made.forget(109)
    assert made.addresses == ("1", "2", "3")
    made.forget(110)
    assert made.addresses == ("2", "3")
    assert made.next_to_leave is None


def test_it_lingers_for_the_ttl_of_its_answer_where_that_is_longer_up_to_5_minutes() -> None:
    assert known((0, Answer(("1",), ttl=200)), (10, Answer(("2",), ttl=1))).next_to_leave == 210
    assert known((0, Answer(("1",), ttl=9000)), (10, Answer(("2",)))).next_to_leave == 310


@pytest.mark.feature(
    "Addresses and DNS", "an address that left the answer stays 5 min unless told, or its TTL if longer"
)
def test_it_lingers_for_5_minutes_unless_told() -> None:
    plain = Upstream.model_validate({"name": "u", "targets": [{"host": "a.example", "port": 80}]})
    made = Known(questions(plain)["a.example"])
    made.learn(Answer(("1",), ttl=60), 0)
    made.learn(Answer(("2",), ttl=60), 60)
    assert made.next_to_leave == 60 + 300


def test_an_address_that_comes_back_does_not_leave() -> None:
    made = known((0, Answer(("1",))), (10, Answer(("2",))), (20, Answer(("1", "2"))))
    made.forget(1000)
    assert made.addresses == ("1", "2")
    made = known((0, Answer(("1",))), (10, Answer(("2",))), (20, Answer(("1",))), (30, Answer(("3",))))
    assert made.next_to_leave == 120, "2 from when it left; 1 anew"
    made.forget(120)
    assert made.addresses == ("1", "3")


def test_without_lingering_it_leaves_at_once() -> None:
    made = known((0, Answer(("1",), ttl=60)), (60, Answer(("2",), ttl=60)), linger=0)
    assert made.addresses == ("2",)


def test_an_answer_holds_for_its_ttl_within_bounds() -> None:
    assert [known((0, Answer(("1",), ttl))).holds for ttl in (0, 4, 60, 9000)] == [5, 5, 60, 300]
    assert known((0, Answer(("1",), 4)), min_ttl=0.1).holds == 4


def test_what_could_not_be_learned_keeps_what_was_known() -> None:
    both, half = Answer(("1", "::1")), Answer(("2",), failed=frozenset({Source("a", True)}))
    made = known((0, both), (1, half), linger=0)
    assert made.addresses == ("2", "::1")
    made.learn(Answer(("2",)), 2)
    assert made.addresses == ("2",)
    of_srv = known(
        (0, Answer((srv(1, "1"), srv(1, "2")))),
        (1, Answer((srv(1, "3"),), failed=frozenset({Source("2.test", False)}))),
        linger=0,
    )
    assert of_srv.addresses == (srv(1, "2"), srv(1, "3"))


def test_a_record_that_changes_replaces_its_older_self() -> None:
    made = known((0, Answer((srv(1, "1"), srv(2, "2")))), (1, Answer((srv(2, "1", weight=9), srv(2, "2")))))
    assert made.addresses == (srv(2, "2"), srv(2, "1", weight=9))


def test_srv_records_linger_only_beside_others_of_their_priority() -> None:
    before = Answer((srv(1, "1"), srv(1, "2"), srv(2, "3")))
    assert known((0, before), (1, Answer((srv(1, "2"), srv(2, "3"))))).addresses == (
        srv(1, "1"),
        srv(1, "2"),
        srv(2, "3"),
    )
    assert known((0, before), (1, Answer((srv(2, "3"),)))).addresses == (srv(2, "3"),), "its backup takes over"
