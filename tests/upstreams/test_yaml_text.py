from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xds_server.upstreams import yaml_text
from xds_server.upstreams.tree import MAX_DEPTH, UnreadableError
from xds_server.upstreams.yaml_text import read_yaml


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(yaml_text, "_Events", yaml.BaseLoader)


def data(text: str) -> Any:
    tree = read_yaml(text)
    assert tree.mistakes == []
    return tree.data


def mistakes(text: str) -> list[tuple[int, str]]:
    return [(mistake.line, mistake.message) for mistake in read_yaml(text).mistakes]


def unreadable(text: str) -> tuple[int, str]:
    with pytest.raises(UnreadableError) as caught:
        read_yaml(text)
    return caught.value.line, caught.value.message


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("+12", 12),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("2020-01-01", "2020-01-01"),
        ("5s", "5s"),
        ("+", "+"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  5", "5"),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: object) -> None:
    found = data(f"a: {scalar}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_the_key_on_is_text() -> None:
    assert data("retries: {on: [x], no: 1, y: 2}") == {"retries": {"on": ["x"], "no": 1, "y": 2}}


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "1e999"])
def test_numbers_that_json_cannot_hold(number: str) -> None:
    line, message = unreadable(f"a: 1\nb: {number}")
    assert line == 2
    assert "put it in quotes if it is text" in message


def test_a_number_of_ten_thousand_digits() -> None:
    assert unreadable(f"a: {'9' * 10_000}")[1].startswith("a number of this length cannot be read")


def test_lines_of_keys_items_and_missing_parts() -> None:
    tree = read_yaml("# first\na:\n  - b: 1\n\n    c: {d: 2,\n      e: 3}\n  -\n    f: 4\n")
    for location, line in {
        (): 2,
        ("a",): 2,
        ("a", 0): 3,
        ("a", 0, "b"): 3,
        ("a", 0, "c"): 5,
        ("a", 0, "c", "e"): 6,
        ("a", 0, "c", "missing"): 5,
        ("a", 0, "c", "e", "deeper"): 6,
        ("a", 1): 8,
        ("a", 9): 2,
        ("missing", "deeper"): 2,
    }.items():
        assert tree.line(location) == line, location


def test_windows_line_ends_count_once() -> None:
    assert read_yaml("a: 1\r\nb: 2\r\n").line(("b",)) == 2


def test_aliases_are_the_value_of_their_anchor_at_the_anchors_lines() -> None:
    tree = read_yaml("a: &x\n  b: 1\nc: *x\nd: &y text\ne: *y\n&k key: 1\n*k : 2\n")
    assert tree.data == {"a": {"b": 1}, "c": {"b": 1}, "d": "text", "e": "text", "key": 1}
    assert tree.line(("c",)) == 3
    assert tree.line(("c", "b")) == 2
    assert [mistake.message for mistake in tree.mistakes] == ["duplicate key: 'key' is already on line 6"]


def test_an_anchor_can_be_given_again() -> None:
    assert data("- &a 1\n- *a\n- &a 2\n- *a\n") == [1, 1, 2, 2]


def test_merge_keys_add_what_is_not_given() -> None:
    tree = read_yaml("- &a {x: 1, y: 1}\n- &b {y: 2, z: 2}\n- {<<: *a, x: 0}\n- <<: [*a, *b]\n  w: 3\n- {'<<': 4}\n")
    assert tree.data[2] == {"x": 0, "y": 1}
    assert tree.data[3] == {"x": 1, "y": 1, "z": 2, "w": 3}
    assert tree.data[4] == {"<<": 4}
    assert tree.line((3, "z")) == 2
    assert tree.mistakes == []


@pytest.mark.parametrize("merge", ["<<: 5", "<<: [5]", "<<: {a: 1}\n<<: {b: 1}"])
def test_wrong_merge_keys(merge: str) -> None:
    ((_, message),) = mistakes(merge)
    assert message.startswith("<<")


def test_duplicate_keys_name_the_first() -> None:
    assert mistakes("a: 1\nb:\n  c: 1\n  d: 1\n  c: {c: 1}\na: 2\n") == [
        (5, "duplicate key: 'c' is already on line 3"),
        (6, "duplicate key: 'a' is already on line 1"),
    ]
    assert read_yaml("a: 1\na: 2").data == {"a": 1}


@pytest.mark.parametrize("key", ["8080", "true", "~", "1.5"])
def test_keys_that_are_not_text(key: str) -> None:
    assert mistakes(f"a: 1\n{key}: [1, {{b: 2}}]\nc: 1") == [(2, f"the key {key!r} is not text: put it in quotes")]


@pytest.mark.parametrize("key", ["? [a]\n: 1", "{a: 1}: 1", "{{a}}: 1"])
def test_keys_that_are_lists_or_fields(key: str) -> None:
    assert "a key must be text" in unreadable(f"a: 1\n{key}")[1]


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system"),
        ("a: !!str 5", "!!str"),
        ("a: !custom {b: 1}", "!custom"),
    ],
)
def test_tags_are_refused(text: str, tag: str) -> None:
    assert mistakes(text) == [(1, f"the tag {tag} is not supported: remove it")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [1,\n  2\nb: 3\n", 3, "not YAML: "),
        ("a: 'x\n\n", 3, "not YAML: "),
        ("a:\n\t- b\n", 2, "a tab; indent with spaces"),
        ("a: 1\n\0\n", 2, r"the character '\x00' may not stand in a file"),
        ("a: 1\nb: \x1b\n", 2, r"the character '\x1b'"),
        ("a: \ud800", 1, r"the character '\ud800'"),
        ("a: 1\n---\nb: 1\n", 2, "a second document begins here"),
        ("a: *b\n", 1, "alias *b has no anchor before it"),
        ("a: &b\n  - *b\n", 2, "alias *b contains itself"),
        ("a: @b", 1, "not YAML: "),
    ],
)
def test_what_cannot_be_read_names_the_line(text: str, line: int, message: str) -> None:
    found = unreadable(text)
    assert found[0] == line
    assert message in found[1]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "--- ~\n...\n"])
def test_nothing(text: str) -> None:
    assert data(text) is None


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "\n".join(" " * n + "a:" for n in range(500))]
)
def test_nesting_is_bounded(text: str) -> None:
    assert unreadable(text)[1] == f"nested deeper than {MAX_DEPTH} levels"


def test_nesting_is_allowed_up_to_the_bound() -> None:
    assert data("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_aliases_cannot_nest_deeper_than_text() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1000))
    assert unreadable(text) == (MAX_DEPTH, f"nested deeper than {MAX_DEPTH} levels")


def test_a_billion_laughs() -> None:
    text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    assert "repeat more than 16 MiB of values" in unreadable(text)[1]


def test_a_long_text_repeated() -> None:
    text = f"- &a {'x' * 1_000_000}\n" + "- *a\n" * 100
    assert unreadable(text)[0] == 18


class Quoting(yaml.SafeDumper):
    """Quotes all text: PyYAML leaves bare what is text in YAML 1.1 and a number in 1.2, such as 0E0."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(st.recursive(st.text(max_size=5) | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=4)))
def test_quoted_data_is_read_back(value: object) -> None:
    assert data(yaml.dump(value, Dumper=Quoting)) == value


PIECES = [
    "a",
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&x ",
    "*x",
    "<<",
    "'",
    '"',
    "!t ",
    "#",
    "? ",
    "1",
    "---",
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_no_text_does_anything_but_read_or_refuse(text: str) -> None:
    try:
        told = [mistake.line for mistake in read_yaml(text).mistakes]
    except UnreadableError as error:
        told = [error.line]
    assert set(told) <= set(range(1, text.count("\n") + 2))
