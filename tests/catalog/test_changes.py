from xds_server.catalog.changes import Change, Definitions
from xds_server.upstreams.model import Gateway, Placed, Target, Upstream


def placed(name: str, *, source: str = "a.yaml", line: int = 1, targets: int = 1) -> Placed[Upstream]:
    hosts = tuple(Target(host=f"10.0.0.{number}", port=80) for number in range(targets))
    return Placed(source, line, Upstream(name=name, targets=hosts))


def gateway(name: str, port: int) -> Placed[Gateway]:
    return Placed("a.yaml", 1, Gateway(name=name, port=port))


def test_the_difference_of_two_sets_leads_from_one_to_the_other() -> None:
    old = Definitions(
        {"kept": placed("kept"), "gone": placed("gone"), "edited": placed("edited")}, {"g": gateway("g", 1)}
    )
    new = Definitions(
        {"kept": placed("kept"), "edited": placed("edited", targets=2), "added": placed("added")},
        {"h": gateway("h", 2)},
    )
    change = old.difference(new)
    assert (set(change.upstreams), change.removed_upstreams) == ({"edited", "added"}, frozenset({"gone"}))
    assert (set(change.gateways), change.removed_gateways) == ({"h"}, frozenset({"g"}))
    assert len(change) == 5
    old.apply(change)
    assert old == new


def test_another_line_is_no_change_and_another_file_is() -> None:
    old = Definitions({"a": placed("a", line=1)})
    assert not old.difference(Definitions({"a": placed("a", line=9)}))
    assert old.difference(Definitions({"a": placed("a", source="b.yaml")}))


def test_parts_are_small_and_make_up_the_whole() -> None:
    change = Change(
        {f"u{number}": placed(f"u{number}", targets=4) for number in range(10)},
        frozenset({"x"}),
        {f"g{number}": gateway(f"g{number}", 1 + number) for number in range(7)},
        frozenset({"y"}),
    )
    parts = list(change.parts(5))
    assert [len(part) for part in parts] == [1] * 10 + [5, 2] + [2]
    whole, direct = Definitions(), Definitions()
    for part in parts:
        whole.apply(part)
    direct.apply(change)
    assert whole == direct
    assert (parts[-1].removed_upstreams, parts[-1].removed_gateways) == (frozenset({"x"}), frozenset({"y"}))


def test_an_empty_change_is_false_and_has_no_parts() -> None:
    assert not Change()
    assert list(Change().parts(5)) == []
