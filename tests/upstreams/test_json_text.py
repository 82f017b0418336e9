import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.upstreams.json_text import read_json
from xds_server.upstreams.model.base import Location
from xds_server.upstreams.tree import MAX_DEPTH, UnreadableError


def unreadable(text: str) -> tuple[int, str]:
    with pytest.raises(UnreadableError) as caught:
        read_json(text)
    return caught.value.line, caught.value.message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    tree = read_json(json.dumps(value))
    assert tree.data == value
    assert tree.mistakes == []


@given(values, st.sampled_from([None, 0, 2]))
def test_every_part_has_the_line_on_which_it_begins(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    tree = read_json(text)
    # Without an indent there is one line; with one, each entry and each end of a list has its own.
    if indent is None:
        assert {tree.line(place) for place in places(value)} == {1}
    else:
        assert [tree.line(place) for place in places(value)] == entry_lines(text)


def places(value: Any, here: Location = ()) -> list[Location]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, inner in pairs for place in places(inner, (*here, key)))]


def entry_lines(text: str) -> list[int]:
    return [number for number, line in enumerate(text.split("\n"), 1) if line.strip(" ,") not in ("]", "}")]


def test_lines_of_missing_parts_are_those_of_the_nearest_parent() -> None:
    tree = read_json('{"a":\n [1,\n  {"b": 2}]}')
    assert tree.line(("a", 1, "c")) == 3
    assert tree.line(("a", 7)) == 1
    assert tree.line(("c",)) == 1


def test_duplicate_keys_name_the_first() -> None:
    tree = read_json('{\n"a": {"x": 1,\n"x": [1, {"y": 1}]},\n"b": [{"z": 1, "z": 2}],\n"a": 3\n}')
    assert sorted((mistake.line, mistake.location, mistake.message) for mistake in tree.mistakes) == [
        (3, ("a", "x"), "duplicate key: 'x' is already on line 2"),
        (4, ("b", 0, "z"), "duplicate key: 'z' is already on line 4"),
        (5, ("a",), "duplicate key: 'a' is already on line 2"),
    ]
    assert tree.data == {"a": {"x": 1}, "b": [{"z": 1}]}
    assert tree.line(("a", "x")) == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{\n"a": 1,\n}', 3, "not JSON: "),
        ('{"a": 1}\n{"b": 1}', 2, "not JSON: Extra data"),
        ("{'a': 1}", 1, "not JSON: "),
        ('["NaN", "\\"NaN",\nNaN]', 2, "NaN is not a number in JSON"),
        ('{"Infinity":\n-Infinity}', 2, "-Infinity is not a number in JSON"),
        ("[1,\n1e999]", 2, "1e999 is not a number in JSON"),
        ('["1",\n' + "9" * 5000 + "]", 2, "a number of this length cannot be read"),
        ('["\\ud83d\\ude00",\n"\\ud83d"]', 2, "holds half of a surrogate pair"),
        ('{"a":\n{"\\ude00": 1}}', 2, "holds half of a surrogate pair"),
        ('"a\nb"', 1, "not JSON: Invalid control character"),
        ('"\0"', 1, "not JSON: "),
    ],
)
def test_what_cannot_be_read_names_the_line(text: str, line: int, message: str) -> None:
    found = unreadable(text)
    assert found[0] == line
    assert message in found[1]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[\n" * 500 + "]" * 500])
def test_nesting_is_bounded(text: str) -> None:
    line, message = unreadable(text)
    assert message == f"nested deeper than {MAX_DEPTH} levels"
    assert line == (MAX_DEPTH + 1 if "\n" in text else 1)


def test_nesting_is_allowed_up_to_the_bound() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH).data
    assert unreadable("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize("text", ["", " \n\t\r\n"])
def test_nothing(text: str) -> None:
    assert read_json(text).data is None
