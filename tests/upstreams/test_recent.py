"""What is remembered of what was made of definitions, and that it is never much."""

from xds_server.upstreams.recent import Recent


def test_the_newest_stay() -> None:
    recent: Recent[str] = Recent(most=30)
    for name in "abc":
        recent.put(name, name.upper(), 9)
    assert [recent.get(name) for name in "abc"] == ["A", "B", "C"]
    recent.put("a", "again", 9)
    recent.put("d", "D", 9)
    assert [recent.get(name) for name in "abcd"] == ["again", None, "C", "D"], "b was the oldest"
    recent.drop("c")
    recent.put("e", "E", 9)
    assert [recent.get(name) for name in "ade"] == ["again", "D", "E"], "there was room"


def test_one_that_is_larger_than_all_is_remembered_alone() -> None:
    recent: Recent[str] = Recent(most=30)
    recent.put("a", "A", 9)
    recent.put("large", "L", 1_000)
    assert (recent.get("a"), recent.get("large")) == (None, "L")
    recent.put("b", "B", 1)
    assert (recent.get("large"), recent.get("b")) == (None, "B")
