"""Which replaced targets stay beside the new ones, and until when."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.delivery.overlap import History, Plan, leaves_unserved, length, plan
from xds_server.upstreams.model import ActiveHealthCheck, Upstream
from xds_server.upstreams.translate import enabled_hosts

ACTIVE: dict[str, Any] = {"active": {"timeout": "500ms"}}
LENGTH = 1.5
A, B, C, BACKUP = ({"host": f"10.0.0.{n}", "port": 80} for n in (1, 2, 3, 9))


class Upstreams:
    """One upstream through its edits, at times that the test gives."""

    def __init__(self, **fields: Any) -> None:
        self.fields = {"health_checks": ACTIVE, **fields}
        self.history: History | None = None
        self.plan: Plan

    def edit(self, now: float, *targets: dict[str, Any], **more: Any) -> set[str]:
        """The addresses that are served beyond the definition."""
        addresses = more.pop("addresses", {})
        upstream = Upstream.model_validate({"name": "u", **self.fields, "targets": targets, **more})
        self.plan = plan(self.history, upstream, addresses, now)
        self.history = self.plan.history
        return {address for address, _ in self.history.kept} if self.history else set()


def test_replacing_all_targets_keeps_the_old_ones_for_an_overlap() -> None:
    u = Upstreams()
    assert u.edit(0, A) == set()
    assert u.edit(100, B) == {"10.0.0.1"}
    assert [target.host for target in u.plan.upstream.targets] == ["10.0.0.2", "10.0.0.1"]
    assert u.plan.until == 100 + LENGTH
    assert u.edit(100 + LENGTH - 0.01, B) == {"10.0.0.1"}
    assert u.edit(100 + LENGTH, B) == set()
    assert u.plan.until is None
    assert [target.host for target in u.plan.upstream.targets] == ["10.0.0.2"]


def test_how_long_it_is() -> None:
    assert length(ActiveHealthCheck.model_validate({"timeout": "500ms"})) == LENGTH
    assert length(ActiveHealthCheck.model_validate({"timeout": "1m"})) == 10
    assert length(ActiveHealthCheck.model_validate({"timeout": "500ms"}), polled=True) == 12


def test_a_target_that_stays_makes_an_overlap_needless() -> None:
    u = Upstreams()
    u.edit(0, A, B)
    assert u.edit(100, B, C) == set()


def test_a_target_that_stays_and_is_new_itself_does_not() -> None:
    u = Upstreams()
    u.edit(0, A)
    assert u.edit(100, A, B) == set()
    assert u.edit(100.5, B) == {"10.0.0.1"}, "nobody knows yet whether b passes its probes"
    assert u.plan.until == 100 + LENGTH


def test_a_second_edit_during_an_overlap_keeps_what_served_before_the_first() -> None:
    u = Upstreams()
    u.edit(0, A)
    u.edit(100, B)
    assert u.edit(101, C) == {"10.0.0.1", "10.0.0.2"}
    assert u.plan.until == 101 + LENGTH
    assert u.edit(101 + LENGTH, C) == set()


def test_a_rollback_during_an_overlap_ends_it() -> None:
    u = Upstreams()
    u.edit(0, A)
    u.edit(100, B)
    assert u.edit(100.5, A) == set(), "a never left, so b need not stay"
    assert u.plan.until is None


def test_going_back_to_a_target_that_was_never_old() -> None:
    u = Upstreams()
    u.edit(0, A)
    u.edit(100, B)
    u.edit(100.5, C)
    assert u.edit(101, B) == {"10.0.0.1", "10.0.0.3"}, "b has been there for a second only"
    assert u.plan.until == 100 + LENGTH, "which counts from when it came"


def test_what_is_taken_out_by_hand_is_not_kept() -> None:
    for out in ({"state": "draining"}, {"state": "disabled"}, {"state": "unhealthy"}, {"weight": 0}):
        u = Upstreams()
        u.edit(0, A)
        assert u.edit(100, {**A, **out}, B) == set(), out
        u.edit(200, A)
        u.edit(210, A)  # as the timer does when an overlap is over
        assert u.edit(300, B) == {"10.0.0.1"}
        assert u.edit(300.5, {**A, **out}, B) == set(), "nor any longer"


def test_what_is_taken_out_by_hand_leaves_requests_unserved_until_the_others_are_proven() -> None:
    drained = {**A, "state": "draining"}
    for fields, unserved in (({}, True), ({"on_all_unhealthy": "send-all"}, False)):
        u = Upstreams(**fields)
        u.edit(0, A)
        assert not u.plan.is_unserved, "nothing served before"
        u.edit(100, drained, B)
        assert u.plan.is_unserved == unserved
        u.edit(100.5, drained, B, description="words")
        assert not u.plan.is_unserved, "by no doing of this edit"
        u.edit(200, drained, {**B, "state": "disabled"}, C)
        assert u.plan.is_unserved == unserved
    u = Upstreams()
    for now, targets in enumerate(([A], [A, B], [A, B], [drained, B])):
        u.edit(100 * now, *targets)
        assert not u.plan.is_unserved, "one after the other"
    u.edit(500, drained, {**B, "state": "draining"})
    assert not u.plan.is_unserved, "it does not wait for anything"


def test_which_edits_leave_requests_unserved() -> None:
    def of(checks: dict[str, Any], *targets: dict[str, Any]) -> Upstream:
        return Upstream.model_validate({"name": "u", "health_checks": checks, "targets": targets})

    drained = {**A, "state": "draining"}
    assert leaves_unserved(of(ACTIVE, A), of(ACTIVE, drained, B))
    assert not leaves_unserved(of(ACTIVE, A), of(ACTIVE, B)), "the old one stays"
    assert not leaves_unserved(of(ACTIVE, A), of({}, drained, B))
    assert not leaves_unserved(of({}, A), of(ACTIVE, drained, B)), "what has no checks serves until what has is warm"


def test_what_was_out_before_is_not_kept() -> None:
    u = Upstreams()
    u.edit(0, A, {**B, "state": "draining"})
    assert u.edit(100, C) == {"10.0.0.1"}


def test_each_priority_for_itself() -> None:
    u = Upstreams()
    backup = {**BACKUP, "priority": 1}
    u.edit(0, A, backup)
    assert u.edit(100, B, backup) == {"10.0.0.1"}, "the standby need not take over"
    u.edit(200, B, backup)
    assert u.edit(300, B) == set(), "a priority that goes is not kept"


def test_moving_everything_to_another_priority_number() -> None:
    u = Upstreams()
    u.edit(0, A)
    assert u.edit(100, {**B, "priority": 1}) == {"10.0.0.1"}


def test_emptying_an_upstream_keeps_nothing() -> None:
    u = Upstreams()
    u.edit(0, A)
    assert u.edit(100) == set()


def test_without_active_checks_there_is_none() -> None:
    for checks in ({}, {"passive": {}}):
        u = Upstreams(health_checks=checks)
        u.edit(0, A)
        assert u.edit(100, B) == set()
        assert u.history is None
    u = Upstreams()
    u.edit(0, A)
    u.edit(100, B)
    assert u.edit(100.5, B, health_checks={}) == set(), "nor any longer"


def test_not_where_envoy_resolves() -> None:
    u = Upstreams(resolve="envoy")
    u.edit(0, {"host": "a.example", "port": 80})
    assert u.edit(100, {"host": "b.example", "port": 80}) == set()


def test_a_target_that_is_not_probed_is_usable_at_once() -> None:
    u = Upstreams()
    unprobed = {"health_check": {"disabled": True}}
    u.edit(0, {**A, **unprobed})
    assert u.edit(100, {**B, **unprobed}) == set()


def test_under_a_new_assignment_name_there_is_none() -> None:
    u = Upstreams()
    u.edit(0, A)
    assert u.edit(100, {**B, "health_check": {"port": 81}}) == set(), (
        "Envoy builds the cluster anew, beside the old one"
    )


def test_a_host_name_whose_addresses_all_change() -> None:
    u = Upstreams()
    name = {"host": "a.example", "port": 80}
    u.edit(0, name, addresses={"a.example": ["10.0.0.1", "10.0.0.2"], "other": ["10.0.0.7"]})
    assert u.edit(100, name, addresses={"a.example": ["10.0.0.3"]}) == {"10.0.0.1", "10.0.0.2"}
    assert u.plan.addresses["a.example"] == ["10.0.0.3", "10.0.0.1", "10.0.0.2"]
    assert [target.host for target in u.plan.upstream.targets] == ["a.example"]
    assert u.edit(100 + LENGTH, name, addresses={"a.example": ["10.0.0.3"]}) == set()
    assert u.plan.addresses["a.example"] == ["10.0.0.3"]


def test_one_address_that_stays_is_enough() -> None:
    u = Upstreams()
    name = {"host": "a.example", "port": 80}
    u.edit(0, name, addresses={"a.example": ["10.0.0.1", "10.0.0.2"]})
    assert u.edit(100, name, addresses={"a.example": ["10.0.0.2", "10.0.0.3"]}) == set()


def test_a_host_name_that_is_replaced_keeps_its_name_and_addresses() -> None:
    u = Upstreams()
    u.edit(0, {"host": "a.example", "port": 80}, addresses={"a.example": ["10.0.0.1"]})
    assert u.edit(100, B, addresses={}) == {"10.0.0.1"}
    assert u.plan.addresses == {"a.example": ["10.0.0.1"]}
    assert [target.host for target in u.plan.upstream.targets] == ["10.0.0.2", "a.example"]
    assert u.edit(100.5, B, {"host": "a.example", "port": 80, "state": "disabled"}) == set()


EDITS = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.7, 1.4, 1.5, 9.0]),  # seconds since the edit before
        st.dictionaries(
            st.sampled_from([1, 2, 3, 4]),
            st.tuples(st.sampled_from(["enabled", "enabled", "draining", "disabled"]), st.integers(0, 1)),
            max_size=4,
        ),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(EDITS)
def test_whatever_is_edited_something_that_is_proven_stays(
    edits: list[tuple[float, dict[int, tuple[str, int]]]],
) -> None:
    u, now, present = Upstreams(), 0.0, dict[str, float]()
    due: float | None = None
    for wait, targets in edits:
        now += wait
        written = [
            {"host": f"10.0.0.{n}", "port": 80, "state": state, "priority": priority}
            for n, (state, priority) in targets.items()
        ]
        while due is not None and due <= now:  # the timer, which is never late here
            u.history = plan(u.history, u.plan.history.upstream if u.plan.history else u.plan.upstream, {}, due).history
            present = {place: since for place, since in present.items() if place in served(u, due)}
            due = u.plan.until
        by_hand = {target["host"] for target in written if target["state"] != "enabled"}
        proven = {place for place, since in present.items() if since + LENGTH <= now} - by_hand
        u.edit(now, *written)
        due, here = u.plan.until, served(u, now)
        assert not here & by_hand
        enabled = {str(target["host"]) for target in written if target["state"] == "enabled"}
        assert enabled <= here
        if proven and enabled:
            assert here & proven, "requests would have nowhere to go until something new was probed"
        if due is not None:
            assert now < due <= now + LENGTH
        present = {place: present.get(place, now) for place in here}


def served(u: Upstreams, now: float) -> set[str]:
    """The addresses that may get requests, with what is kept."""
    assert u.history is not None
    u.plan = plan(u.history, u.history.upstream, {}, now)
    return {address for address, _ in enabled_hosts(u.plan.upstream, u.plan.addresses)}
