"""The rules of single values: those that Envoy's protos lack too, on messages made for the purpose."""

import time
from typing import Any

import pytest
from google.protobuf import any_pb2, duration_pb2, json_format, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message
from made_messages import MESSAGES, made

from xds_server.xds.field_rules import UnsupportedRuleError
from xds_server.xds.validation import check


def words(kind: type[Message], value: Any) -> list[str]:
    return [violation.message for violation in check(kind(value=value))]


NUMBERS: list[tuple[str, dict[str, Any], list[Any], Any, str]] = [
    ("int32", {"const": 7}, [7], 8, "must be 7, is 8"),
    ("int64", {"lt": 3}, [2, -9], 3, "must be less than 3, is 3"),
    ("uint32", {"lte": 3}, [0, 3], 4, "must be at most 3, is 4"),
    ("uint64", {"gt": 3}, [4], 3, "must be greater than 3, is 3"),
    ("sint32", {"gte": -3}, [-3], -4, "must be at least -3, is -4"),
    ("uint32", {"gte": 1}, [1], 0, "must be at least 1, is 0"),
    ("uint32", {"gte": 5, "ignore_empty": True}, [0, 5], 4, "must be at least 5, is 4"),
    ("fixed64", {"in": [1, 2]}, [1, 2], 3, "must be one of 1, 2, is 3"),
    ("float", {"not_in": [1.5]}, [1, 2], 1.5, "must not be 1.5"),
    ("double", {"gt": 0, "lt": 1}, [0.5], 1, "must be less than 1.0, is 1.0"),
    ("double", {"gt": 1, "lt": 0}, [-0.5, 1.5], 1, "must be less than 0.0 or greater than 1.0, is 1.0"),
    ("double", {"gte": 1, "lt": 0}, [-0.5, 1], 0, "must be less than 0.0 or at least 1.0, is 0.0"),
    ("double", {"gt": 1, "lte": 0}, [0, 1.5], 1, "must be at most 0.0 or greater than 1.0, is 1.0"),
    ("double", {"gte": 1, "lte": 0}, [0, 1], 0.5, "must be at most 0.0 or at least 1.0, is 0.5"),
    ("double", {"gte": 0}, [0.0], float("nan"), "must be at least 0.0, is nan"),
    ("bool", {"const": True}, [True], False, "must be true, is false"),
    ("enum", {"const": 1}, [1], 2, "must be GREEN, is BLUE"),
    ("enum", {"in": [1, 2]}, [1, 2], 0, "must be one of GREEN, BLUE, is RED"),
    ("enum", {"not_in": [0]}, [1, 9], 0, "must not be RED"),
    ("enum", {"defined_only": True}, [0, 1, 2], 3, "must be one of RED, GREEN, BLUE, is 3"),
]
TEXT: list[tuple[str, dict[str, Any], list[Any], Any, str]] = [
    ("string", {"const": "a"}, ["a"], "b", "must be 'a', is 'b'"),
    ("string", {"len": 2}, ["äö"], "a", "must have 2 characters, has 1"),
    ("string", {"min_len": 1}, ["ä"], "", "must not be empty"),
    ("string", {"min_len": 2}, ["äö"], "ä", "must have at least 2 characters, has 1"),
    ("string", {"max_len": 2}, ["äö"], "abc", "must have at most 2 characters, has 3"),
    ("string", {"len_bytes": 2}, ["ä"], "a", "must have 2 bytes, has 1"),
    ("string", {"min_bytes": 2}, ["ä"], "a", "must have at least 2 bytes, has 1"),
    ("string", {"max_bytes": 2}, ["ä"], "äa", "must have at most 2 bytes, has 3"),
    ("string", {"min_len": 2, "ignore_empty": True}, ["", "ab"], "a", "must have at least 2 characters, has 1"),
    ("string", {"pattern": r"^\d+$"}, ["12"], "12\n", r"must match the pattern ^\d+$, is '12\n'"),
    ("string", {"pattern": r"^\d+$"}, ["12"], "\u0661", "must match the pattern ^\\d+$, is '\u0661'"),
    ("string", {"pattern": "a"}, ["a"], "ba", "must match the pattern a, is 'ba'"),
    ("string", {"prefix": "a"}, ["ab"], "b", "must start with 'a', is 'b'"),
    ("string", {"suffix": "a"}, ["ba"], "b" * 99, f"must end with 'a', is '{'b' * 59}..."),
    ("string", {"contains": "a"}, ["bab"], "b", "must contain 'a', is 'b'"),
    ("string", {"not_contains": "a"}, ["b"], "bab", "must not contain 'a', is 'bab'"),
    ("string", {"in": ["a", "b"]}, ["a", "b"], "c", "must be one of 'a', 'b', is 'c'"),
    ("string", {"not_in": ["a"]}, ["b"], "a", "must not be 'a'"),
    ("bytes", {"const": "YQ=="}, [b"a"], b"b", "must be b'a', is b'b'"),
    ("bytes", {"len": 2}, [b"ab"], b"a", "must have 2 bytes, has 1"),
    ("bytes", {"min_len": 2, "max_len": 3}, [b"ab", b"abc"], b"abcd", "must have at most 3 bytes, has 4"),
    ("bytes", {"pattern": "^a.c$"}, [b"a\xffc"], b"abd", "must match the pattern ^a.c$, is b'abd'"),
    ("bytes", {"prefix": "YQ=="}, [b"ab"], b"b", "must start with b'a', is b'b'"),
    ("bytes", {"suffix": "YQ=="}, [b"ba"], b"b", "must end with b'a', is b'b'"),
    ("bytes", {"contains": "YQ=="}, [b"bab"], b"b", "must contain b'a', is b'b'"),
    ("bytes", {"in": ["YQ=="]}, [b"a"], b"b", "must be one of b'a', is b'b'"),
    ("bytes", {"not_in": ["YQ=="]}, [b"b"], b"a", "must not be b'a'"),
    ("bytes", {"ip": True}, [b"1234", b"1" * 16], b"1", "must be an IP address of 4 or 16 bytes, has 1"),
    ("bytes", {"ipv4": True}, [b"1234"], b"1" * 16, "must be an IPv4 address of 4 bytes, has 16"),
    (
        "bytes",
        {"ipv6": True, "ignore_empty": True},
        [b"", b"1" * 16],
        b"1",
        "must be an IPv6 address of 16 bytes, has 1",
    ),
]


@pytest.mark.parametrize(("kind", "rules", "fine", "wrong", "expected"), NUMBERS + TEXT)
def test_a_rule(kind: str, rules: dict[str, Any], fine: list[Any], wrong: Any, expected: str) -> None:
    type_ = made(kind, {kind: rules})
    assert [words(type_, value) for value in fine] == [[] for _ in fine]
    assert words(type_, wrong) == [expected]


@pytest.mark.parametrize(
    ("rule", "fine", "wrong"),
    [
        ("email", ["a.b+c@example.org"], ["", "a", "@b", "a b@c.d", "a@-b", f"{'a' * 65}@b.c"]),
        ("hostname", ["a", "a-b.example.", "1.2"], ["", "-a", "a-", "a..b", "a_b", "a\n", "a" * 64, "a." * 127 + "ab"]),
        ("ip", ["10.0.0.1", "::1"], ["", "10.0.0", "fe80::1%eth0", "a"]),
        ("ipv4", ["10.0.0.1"], ["::1", "010.0.0.1"]),
        ("ipv6", ["::1", "::ffff:10.0.0.1"], ["10.0.0.1", "fe80::1%eth0"]),
        ("uri", ["http://a/b?c#d", "urn:a"], ["", "/a", "http://a b", "http://[a", "http://a/%zz"]),
        ("uri_ref", ["http://a", "/a?b", ""], ["/a b", "/%z", "//[a"]),
        ("address", ["a.example", "10.0.0.1", "::1"], ["", "a_b", "[::1]"]),
        ("uuid", ["01234567-89ab-CDEF-0123-456789abcdef"], ["", "0123456789abcdef0123456789abcdef"]),
    ],
)
def test_a_format(rule: str, fine: list[str], wrong: list[str]) -> None:
    type_ = made("string", {"string": {rule: True}})
    assert [value for value in fine if words(type_, value)] == []
    assert [value for value in wrong if not words(type_, value)] == []


@pytest.mark.parametrize(
    ("regex", "strict", "fine", "wrong"),
    [
        ("HTTP_HEADER_NAME", True, ["x-a", ":path", "a,b"], ["", "a b", "a:", "ä", "a\n", "a\0"]),
        ("HTTP_HEADER_NAME", False, ["", "a b", "ä", "\t"], ["a\n", "\r", "\0"]),
        ("HTTP_HEADER_VALUE", True, ["", "a b\tä"], ["\x01", "\x7f", "a\n", "\0"]),
        ("HTTP_HEADER_VALUE", False, ["", "\x01\x7f"], ["a\n", "\r", "\0"]),
    ],
)
def test_a_header(regex: str, strict: bool, fine: list[str], wrong: list[str]) -> None:
    type_ = made("string", {"string": {"well_known_regex": regex, "strict": strict}})
    assert [value for value in fine if words(type_, value)] == []
    assert [value for value in wrong if not words(type_, value)] == []


def test_a_header_value_is_never_quoted() -> None:
    type_ = made("string", {"string": {"well_known_regex": "HTTP_HEADER_VALUE"}})
    assert "secret" not in words(type_, "secret\n")[0]


@pytest.mark.parametrize(
    ("rules", "fine", "wrong", "expected"),
    [
        ({"const": "1.5s"}, ["1.5s"], "1s", "must be 1.5s, is 1s"),
        ({"in": ["1s", "2s"]}, ["2s"], "3s", "must be one of 1s, 2s, is 3s"),
        ({"not_in": ["1s"]}, ["2s"], "1s", "must not be 1s"),
        ({"gt": "1s", "lte": "2s"}, ["1.000000001s", "2s"], "1s", "must be greater than 1s, is 1s"),
        ({"gte": "1s", "lt": "2s"}, ["1s", "1.999s"], "2s", "must be less than 2s, is 2s"),
        ({}, ["0s", "9223372035.999999999s"], "9223372036s", "must be from 0s to 9223372035s, is 9223372036s"),
    ],
)
def test_a_duration(rules: dict[str, Any], fine: list[str], wrong: str, expected: str) -> None:
    type_ = made("duration", {"duration": rules})
    assert [check(json_format.ParseDict({"value": value}, type_())) for value in fine] == [[] for _ in fine]
    [violation] = check(json_format.ParseDict({"value": wrong}, type_()))
    assert violation.message == expected
    assert check(type_()) == []


@pytest.mark.parametrize(
    ("rules", "fine", "wrong", "expected"),
    [
        ({"const": "1970-01-01T00:00:01Z"}, 1, 2, "must be 1970-01-01T00:00:01Z, is 1970-01-01T00:00:02Z"),
        ({"lt": "1970-01-01T00:00:02Z"}, 1, 2, "must be less than 1970-01-01T00:00:02Z, is 1970-01-01T00:00:02Z"),
        ({"gte": "1970-01-01T00:00:02Z"}, 2, 1, "must be at least 1970-01-01T00:00:02Z, is 1970-01-01T00:00:01Z"),
        ({"lt_now": True}, 1, 9999999999, "must be in the past, is 2286-11-20T17:46:39Z"),
        ({"gt_now": True}, 9999999999, 1, "must be in the future, is 1970-01-01T00:00:01Z"),
        ({"lt_now": True}, 1, 10**12, "must be in the past, is 1000000000000 seconds since 1970"),
    ],
)
def test_a_timestamp(rules: dict[str, Any], fine: int, wrong: int, expected: str) -> None:
    type_ = made("timestamp", {"timestamp": rules})
    assert words(type_, timestamp_pb2.Timestamp(seconds=fine)) == []
    assert words(type_, timestamp_pb2.Timestamp(seconds=wrong)) == [expected]


def test_a_timestamp_near_now() -> None:
    # Not a parameter: its value would become part of the test's name, which must be the same in every process.
    type_ = made("timestamp", {"timestamp": {"within": "3600s"}})
    assert words(type_, timestamp_pb2.Timestamp(seconds=int(time.time()))) == []
    assert words(type_, timestamp_pb2.Timestamp(seconds=1)) == ["must be within 3600s of now, is 1970-01-01T00:00:01Z"]


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        ("duration", {"duration": {"required": True}}),
        ("timestamp", {"timestamp": {"required": True}}),
        ("any", {"any": {"required": True}}),
        ("wrapper", {"message": {"required": True}, "uint32": {"gte": 0}}),
    ],
)
def test_required(kind: str, rules: dict[str, Any]) -> None:
    type_ = made(kind, rules)
    assert [violation.message for violation in check(type_())] == ["must be set"]
    assert words(type_, MESSAGES[kind]()) == []


@pytest.mark.parametrize("exempt", ["disabled", "ignored"])
def test_an_exempt_message_is_not_checked(exempt: str) -> None:
    rules = {"uint32": {"gte": 1}}
    assert words(made("uint32", rules), 0) == ["must be at least 1, is 0"]
    assert words(made("uint32", rules, exempt=exempt), 0) == []


def test_a_wrapper_is_checked_for_its_value_when_it_is_set() -> None:
    type_ = made("wrapper", {"uint32": {"gte": 1}})
    assert check(type_()) == []
    assert words(type_, wrappers_pb2.UInt32Value(value=0)) == ["must be at least 1, is 0"]


def test_an_optional_scalar_is_checked_when_it_is_set() -> None:
    type_ = made("uint32", {"uint32": {"gte": 1}}, optional=True)
    assert check(type_()) == []
    assert words(type_, 0) == ["must be at least 1, is 0"]


@pytest.mark.parametrize(("rule", "fine"), [("in", "a/B"), ("not_in", "a/C")])
def test_the_type_of_an_any(rule: str, fine: str) -> None:
    type_ = made("any", {"any": {rule: ["a/B"]}})
    wrong = {"a/B": "a/C", "a/C": "a/B"}[fine]
    assert check(type_(value=any_pb2.Any(type_url=fine))) == []
    [violation] = check(type_(value=any_pb2.Any(type_url=wrong)))
    assert violation.path == "value.type_url"


@pytest.mark.parametrize(
    ("rules", "fine", "wrong", "expected"),
    [
        ({"min_items": 2}, [1, 1], [1], [("value", "must have at least 2 items, has 1")]),
        ({"min_items": 2, "ignore_empty": True}, [], [1], [("value", "must have at least 2 items, has 1")]),
        ({"max_items": 1}, [1], [1, 2], [("value", "must have at most 1 items, has 2")]),
        ({"unique": True}, [1, 2], [1, 1], [("value[1]", "is there twice: every item must be different")]),
        ({"items": {"int32": {"gt": 0}}}, [1], [1, 0], [("value[1]", "must be greater than 0, is 0")]),
    ],
)
def test_a_list(rules: dict[str, Any], fine: list[int], wrong: list[int], expected: list[tuple[str, str]]) -> None:
    type_ = made("int32", {"repeated": rules}, repeated=True)
    assert check(type_(value=fine)) == []
    assert check(type_(value=wrong)) == expected


def test_a_list_of_messages_can_be_unique() -> None:
    type_ = made("duration", {"repeated": {"unique": True}}, repeated=True)
    second, other = duration_pb2.Duration(seconds=1), duration_pb2.Duration(seconds=2)
    assert check(type_(value=[second, other])) == []
    assert [violation.path for violation in check(type_(value=[second, other, second]))] == ["value[2]"]


@pytest.mark.parametrize(
    ("rules", "fine", "wrong", "expected"),
    [
        ({"min_pairs": 1}, {"a": 1}, {}, [("value", "must have at least 1 entries, has 0")]),
        ({"min_pairs": 2, "ignore_empty": True}, {}, {"a": 1}, [("value", "must have at least 2 entries, has 1")]),
        ({"max_pairs": 1}, {"a": 1}, {"a": 1, "b": 1}, [("value", "must have at most 1 entries, has 2")]),
        ({"keys": {"string": {"min_len": 1}}}, {"a": 1}, {"": 1}, [("value['']", "the key must not be empty")]),
        ({"values": {"int32": {"gt": 0}}}, {"a": 1}, {"b": 0}, [("value['b']", "must be greater than 0, is 0")]),
    ],
)
def test_a_map(
    rules: dict[str, Any], fine: dict[str, int], wrong: dict[str, int], expected: list[tuple[str, str]]
) -> None:
    type_ = made("map", {"map": {"no_sparse": True, **rules}})
    assert check(type_(value=fine)) == []
    assert check(type_(value=wrong)) == expected


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        ("string", {"string": {"pattern": r"\pL"}}),
        ("string", {"string": {"pattern": "[[:alpha:]]"}}),
        ("duration", {"uint32": {"gt": 1}}),
        ("any", {"string": {"min_len": 1}}),
        ("wrapper", {"uint64": {"gt": 1}}),
        ("wrapper", {"any": {"in": ["a"]}}),
        ("string", {"repeated": {"min_items": 1}}),
        ("map", {"repeated": {"min_items": 1}}),
    ],
)
def test_a_rule_that_would_go_unchecked_is_refused(kind: str, rules: dict[str, Any]) -> None:
    type_ = made(kind, rules)
    with pytest.raises(UnsupportedRuleError, match=r"made\d+\.Made\.value"):
        check(type_())
