"""From what somebody wants to what a revision would change, or why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from catalogues import ANN, OF_FILES, gateway, gone, over, puts, upstream

from xds_server.catalog.contents import Contents
from xds_server.catalog.errors import ChangedMeanwhileError, InvalidError, NotOwnedError, UnknownRecordError
from xds_server.catalog.guard import Guard, Loss
from xds_server.catalog.planning import Plan, Proposal, Put, plan
from xds_server.catalog.store.records import API, Key

FILE, OTHER = "/etc/a.yaml", "/etc/b.yaml"


class Planned:
    """Contents that grow by what is planned on them."""

    def __init__(self, *wanted: Mapping[Key, Put]) -> None:
        self.contents = Contents()
        for each in wanted:
            self.do(each)

    def plan(self, wanted: Mapping[Key, Put] | None = None, **more: Any) -> Plan:
        by = more.pop("by", ANN)
        return plan(self.contents, Proposal(by, wanted or {}, **more), Guard())

    def do(self, wanted: Mapping[Key, Put] | None = None, **more: Any) -> Plan:
        made = self.plan(wanted, **more)
        self.contents.apply(self.contents.revision + 1, made.changes, made.values)
        return made

    def refused(self, wanted: Mapping[Key, Put] | None = None, **more: Any) -> dict[Key, str]:
        """What is said of each record."""
        with pytest.raises(InvalidError) as error:
            self.plan(wanted, **more)
        return {key: problems[0].message for key, problems in error.value.problems.items()}


def actions(made: Plan) -> dict[str, str]:
    return {name: change.action for (_, name), change in made.changes.items()}


def test_what_is_new_changed_gone_and_as_it_was() -> None:
    here = Planned(puts(upstream("a", "10.0.0.1"), upstream("b"), upstream("c")))
    made = here.plan(puts(upstream("a", "10.0.0.2"), upstream("b"), upstream("d")), remove=gone("c", "no-such"))
    assert actions(made) == {"a": "changed", "d": "added", "c": "removed"}


def test_another_line_of_the_same_file_is_no_change_but_another_file_is() -> None:
    here = Planned(puts(upstream("a"), origin=FILE, line=3))
    assert actions(here.plan(puts(upstream("a"), origin=FILE, line=9), by=OF_FILES)) == {}
    assert actions(here.plan(puts(upstream("a"), origin=OTHER, line=3), by=OF_FILES)) == {"a": "changed"}


# Whose it is


def test_the_api_touches_nothing_of_a_file() -> None:
    here = Planned(puts(upstream("a"), gateway("g", 80), origin=FILE))
    for wanted, remove in (
        (puts(upstream("a", "10.0.0.1")), gone()),
        (puts(gateway("g", 81)), gone()),
        ({}, gone("a")),
        ({}, gone("g", kind="gateway")),
    ):
        with pytest.raises(NotOwnedError, match=r"is defined in /etc/a\.yaml"):
            here.plan(wanted, remove=remove)


def test_a_file_touches_nothing_of_the_api() -> None:
    here = Planned(puts(upstream("a")))
    for wanted, remove in ((puts(upstream("a"), origin=FILE), gone()), ({}, gone("a"))):
        with pytest.raises(NotOwnedError, match="is defined in the API"):
            here.plan(wanted, remove=remove, by=OF_FILES)


def test_what_a_file_defined_that_is_no_source_any_more_may_be_taken_over() -> None:
    here = Planned(puts(upstream("a"), origin=FILE))
    here.contents.is_watched = lambda path: path != FILE
    assert actions(here.plan({}, remove=gone("a"))) == {"a": "removed"}
    here.do(puts(upstream("a")))
    assert here.contents.records["upstream", "a"].owner == API


def test_overrides_lie_over_files_too() -> None:
    here = Planned(puts(upstream("a", "10.0.0.1"), origin=FILE))
    here.do(over("a", "10.0.0.1:80", state="draining"))
    assert actions(here.plan({}, remove=gone("a/10.0.0.1:80", kind="override"))) == {"a/10.0.0.1:80": "removed"}


# What is there already


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_who_expects_something_else_is_refused(expected: int) -> None:
    here = Planned(puts(upstream("b")), puts(upstream("a")))
    with pytest.raises(ChangedMeanwhileError, match="was changed by revision 2"):
        here.plan(puts(upstream("a", "10.0.0.1")), expected={("upstream", "a"): expected})
    assert here.plan(puts(upstream("a", "10.0.0.1")), expected={("upstream", "a"): 2}).changes


def test_who_expects_what_is_not_there_is_refused() -> None:
    here = Planned()
    with pytest.raises(ChangedMeanwhileError, match="does not exist"):
        here.plan(puts(upstream("a")), expected={("upstream", "a"): 1})
    assert here.plan(puts(upstream("a")), expected={("upstream", "a"): 0}).changes


# Clashes


def test_host_names_and_ports_belong_to_one() -> None:
    here = Planned(puts(upstream("a", hostnames=["x.example"]), gateway("g", 80)))
    key = ("upstream", "b")
    assert (
        "'x.example' is also answered by upstream 'a' at the API"
        in here.refused(puts(upstream("b", hostnames=["x.example"])))[key]
    )
    assert "'a' is also answered" in here.refused(puts(upstream("b", hostnames=["a"])))[key]
    assert "port 80 is already taken by gateway 'g'" in here.refused(puts(gateway("h", 80)))["gateway", "h"]
    assert here.plan(puts(upstream("b", hostnames=["y.example"]), gateway("h", 81))).changes


def test_a_host_name_moves_in_one_change() -> None:
    here = Planned(puts(upstream("a", hostnames=["x.example"]), gateway("g", 80)))
    wanted = puts(upstream("a"), upstream("b", hostnames=["x.example"]), gateway("h", 80))
    assert here.plan(wanted, remove=gone("g", kind="gateway")).changes


def test_gateways_lead_somewhere() -> None:
    here = Planned()
    assert here.refused(puts(gateway("g", 80, upstream="a"))) == {("gateway", "g"): "there is no upstream 'a'"}
    here.do(puts(gateway("g", 80, upstream="a"), upstream("a")))
    assert here.refused(remove=gone("a")) == {("gateway", "g"): "there is no upstream 'a'"}
    assert here.plan(remove=gone("a") | gone("g", kind="gateway")).changes
    assert here.plan(puts(gateway("g", 80)), remove=gone("a")).changes


def test_a_gateway_beside_one_of_the_same_port_says_nothing_of_where_that_one_leads() -> None:
    one = gateway("one", 80, address="10.0.0.1", upstream="a")
    here = Planned(puts(one, upstream("a"), upstream("b")))
    two = gateway("two", 80, address="10.0.0.2", upstream="b")
    assert actions(here.do(puts(two))) == {"two": "added"}
    assert here.refused(remove=gone("a")) == {("gateway", "one"): "there is no upstream 'a'"}


# Overrides


def test_an_override_is_about_a_target() -> None:
    here = Planned(puts(upstream("a", "10.0.0.1")))
    with pytest.raises(UnknownRecordError, match=r"no target '10.0.0.2:80' in upstream 'a'; there are: 10.0.0.1:80"):
        here.plan(over("a", "10.0.0.2:80", state="draining"))
    with pytest.raises(UnknownRecordError, match="there is no upstream 'b'"):
        here.plan(over("b", "10.0.0.1:80", state="draining"))
    with pytest.raises(UnknownRecordError, match="there is no upstream 'a'"):
        here.plan(over("a", "10.0.0.1:80", state="draining"), remove=gone("a"))


def test_what_was_in_force_once_can_be_again() -> None:
    """An override of a target that its upstream lost waits for it, and so does one whose weight is void now."""
    here = Planned(puts(upstream("a", "10.0.0.1", "10.0.0.2")))
    wanted = over("a", "10.0.0.9:80", weight=3) | over("a", "10.0.0.1:80", weight=3)
    assert here.plan(wanted, refers_to=1).changes


def test_a_weight_must_be_possible_beside_all_that_stays() -> None:
    here = Planned(puts(upstream("a", "10.0.0.1", "10.0.0.2")))
    key, other = ("override", "a/10.0.0.1:80"), ("override", "a/10.0.0.2:80")
    heavy = over("a", "10.0.0.1:80", weight=3)
    assert "round-robin shares equally" in here.refused(heavy)[key]
    assert here.plan(heavy | over("a", "10.0.0.2:80", weight=3)).changes, "both are"
    here.do(heavy | over("a", "10.0.0.2:80", weight=3))
    changed = puts(upstream("a", "10.0.0.1", "10.0.0.2", algorithm="weighted-round-robin"))
    here.do(changed | over("a", "10.0.0.1:80", weight=2))
    equal = puts(upstream("a", "10.0.0.1", "10.0.0.2"))
    made = here.plan(equal | over("a", "10.0.0.1:80", weight=1), remove=frozenset({other}))
    assert made.changes, "what goes with the same change stands in nobody's way"


# The guard


@pytest.mark.parametrize(
    ("removed", "before", "share", "held"),
    [
        (10, 10, 50, False),
        (11, 11, 50, True),
        (11, 22, 50, False),
        (12, 23, 50, True),
        (11, 12, 100, False),
        (11, 1000, 0, True),
        (10, 1000, 0, False),
    ],
)
def test_what_is_held(removed: int, before: int, share: float, held: bool) -> None:
    guard = Guard(share)
    assert bool(guard.objection(Loss(removed, before), Loss(0, 5))) == held
    assert bool(guard.objection(Loss(0, 5), Loss(removed, before))) == held


def full(*, count: int = 20) -> Planned:
    return Planned(puts(upstream("a", *(f"10.0.0.{n + 1}" for n in range(count)))))


def test_much_that_goes_at_once_is_held_whatever_takes_it_away() -> None:
    few = upstream("a", "10.0.0.1")
    assert full().plan(puts(few)).objection.startswith("it would remove 19 of 20 targets, more than 50 %")
    assert full().plan(remove=gone("a")).objection
    names = [upstream(f"u{n}") for n in range(20)]
    here = Planned(puts(*names))
    assert "11 of 20 upstreams" in here.plan(remove=gone(*(f"u{n}" for n in range(11)))).objection


def test_what_comes_or_changes_is_not_held() -> None:
    here = full()
    assert here.plan(puts(upstream("b", *(f"10.1.0.{n + 1}" for n in range(99))))).objection == ""
    weighty = [{"host": f"10.0.0.{n + 1}", "port": 80, "state": "draining"} for n in range(20)]
    assert here.plan(puts(upstream("a").model_validate({"name": "a", "targets": weighty}))).objection == ""
    assert full(count=10).plan(remove=gone("a")).objection == "", "few may always go"


def test_a_first_load_is_not_held_nor_what_somebody_confirms() -> None:
    assert full(count=100).contents.targets == 100
    assert full().plan(remove=gone("a"), refers_to=7, confirmed=True).objection == ""
