"""The rules of single values, as `validate.rules` writes them, turned into functions.

Here live numbers, enums, text, bytes, durations and timestamps. What holds for whole messages (what must be set, how
often, and the way down into other messages) is in `validation`. Every rule means what the C++ code means that
protoc-gen-validate generates into Envoy, so that both agree; only NaN, which that code lets pass, is
refused here.
"""

import datetime
import json
import operator
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from xds_server.xds import text_formats

_NANOS: Final = 1_000_000_000
_MAX_SECONDS: Final = 9_223_372_035
_SHOWN: Final = 60
"""Characters of a wrong value that a message quotes."""


class UnsupportedRuleError(NotImplementedError):
    """A descriptor uses a rule that this interpreter does not know: silence would let a bad resource through."""


class Rule(NamedTuple):
    """What is demanded of a value."""

    passes: Callable[[Any], object]
    """True (or something truthy) for a value that is fine: kept apart, and in C where it can be, to be fast."""
    explain: Callable[[Any], str]
    """For a value that is not: what is wrong with it, in plain words."""


def compile_rules(rules: Message, enum: EnumDescriptor | None = None) -> Rule | None:
    """What a `UInt32Rules`, `StringRules`, ... message demands of a value, or None when it demands nothing.

    The value is a Python number, text or bytes, or a Duration or Timestamp message. `enum` is the type of an enum
    field. Raises UnsupportedRuleError for a rule that is not known.
    """
    kind: str = rules.DESCRIPTOR.name
    given: dict[str, Any] = {field.name: value for field, value in rules.ListFields()}
    given.pop("required", None)  # of durations, timestamps and Any: about absence, so the message's own concern
    may_be_empty = given.pop("ignore_empty", False)
    if kind == "StringRules":
        found = [*_membership(given, _quoted), *_text(given)]
    elif kind == "BytesRules":
        found = [
            *_membership(given, _quoted),
            *_sizes(given, len, "bytes"),
            *_parts(given, bytes),
            *_byte_formats(given),
        ]
    elif kind == "EnumRules":
        found = list(_enum(given, enum))
    elif kind == "DurationRules":
        found = [_of_nanos(rule) for rule in _ordered(given, _duration_text)]
    elif kind == "TimestampRules":
        found = [_of_nanos(rule) for rule in (*_ordered(given, _timestamp_text), *_relative_to_now(given))]
    elif kind == "BoolRules":
        found = list(_membership(given, json.dumps))
    else:
        found = list(_ordered(given, str))
    if given:  # every builder takes what it knows
        raise UnsupportedRuleError(f"{kind}: the rule {', '.join(given)} is not known")
    if not found:
        return None
    rule = _all_of(found)
    if not may_be_empty:
        return rule
    passes, explain = rule
    return Rule(lambda value: not value or passes(value), explain)


def _all_of(rules: Sequence[Rule]) -> Rule:
    if len(rules) == 1:
        return rules[0]
    tests = [rule.passes for rule in rules]

    def passes(value: Any) -> bool:
        return all(test(value) for test in tests)

    return Rule(passes, lambda value: next(explain(value) for test, explain in rules if not test(value)))


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# What may be equal, or greater, or less


def _membership(given: dict[str, Any], show: Callable[[Any], str]) -> Iterator[Rule]:
    """`const`, `in` and `not_in`."""
    if "const" in given:
        only = given.pop("const")
        yield Rule(partial(operator.eq, only), lambda value: f"must be {show(only)}, is {show(value)}")
    if "in" in given:
        allowed = tuple(given.pop("in"))
        listed = ", ".join(map(show, allowed))
        yield Rule(frozenset(allowed).__contains__, lambda value: f"must be one of {listed}, is {show(value)}")
    if "not_in" in given:
        refused = frozenset(given.pop("not_in"))
        yield Rule(lambda value: value not in refused, lambda value: f"must not be {show(value)}")


_BOUNDS: Final = (
    {"gt": (operator.lt, "greater than"), "gte": (operator.le, "at least")},
    {"lt": (operator.gt, "less than"), "lte": (operator.ge, "at most")},
)
"""Lower and upper bounds, each with the comparison that it (on the left) must win against the value."""


def _ordered(given: dict[str, Any], show: Callable[[Any], str]) -> Iterator[Rule]:
    """What holds for values that have an order; those of durations and timestamps are nanoseconds."""
    for name, argument in given.items():
        if isinstance(argument, Message):
            given[name] = _nanos(argument)
        elif name in ("in", "not_in") and isinstance(argument[0], Message):
            given[name] = [_nanos(item) for item in argument]
    yield from _membership(given, show)
    bounds = []
    for names in _BOUNDS:
        for name, (wins, words) in names.items():
            if name in given:
                bound = given.pop(name)
                bounds.append((bound, partial(wins, bound), f"{words} {show(bound)}"))
    if len(bounds) == 2 and bounds[0][0] >= bounds[1][0]:
        # The lower bound is not below the upper one: this is how a rule says that the values between are the wrong ones.
        (_, above, above_words), (_, below, below_words) = bounds
        yield Rule(
            lambda value: above(value) or below(value),
            lambda value: f"must be {below_words} or {above_words}, is {show(value)}",
        )
        return
    for _, passes, words in bounds:
        yield Rule(passes, _explain(words, show))


def _explain(words: str, show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: f"must be {words}, is {show(value)}"


def _enum(given: dict[str, Any], enum: EnumDescriptor | None) -> Iterator[Rule]:
    names = {} if enum is None else {number: value.name for number, value in enum.values_by_number.items()}

    def show(number: int) -> str:
        return names.get(number, str(number))

    yield from _membership(given, show)
    if given.pop("defined_only", False):
        listed = ", ".join(names.values())
        yield Rule(names.__contains__, lambda number: f"must be one of {listed}, is {number}")


# Durations and timestamps


def duration_rule(rules: Message | None) -> Rule:
    """What Envoy demands of every Duration in a resource, and what the field's own `DurationRules` add.

    Envoy takes 0 to 9223372035.999999999 seconds, and refuses the resource for any other, field rules or not.
    """
    within = Rule(_is_possible, lambda value: f"must be from 0s to {_MAX_SECONDS}s, is {_duration_text(_nanos(value))}")
    own = compile_rules(rules) if rules is not None else None
    return _all_of([within, own] if own else [within])


def _is_possible(value: Any) -> bool:
    return bool(0 <= value.seconds <= _MAX_SECONDS and 0 <= value.nanos < _NANOS)


def _nanos(value: Any) -> int:
    return int(value.seconds) * _NANOS + int(value.nanos)


def _of_nanos(rule: Rule) -> Rule:
    passes, explain = rule
    return Rule(lambda value: passes(_nanos(value)), lambda value: explain(_nanos(value)))


def _duration_text(nanos: int) -> str:
    sign, (seconds, rest) = "-" if nanos < 0 else "", divmod(abs(nanos), _NANOS)
    return f"{sign}{seconds}" + (f".{rest:09}".rstrip("0") if rest else "") + "s"


def _timestamp_text(nanos: int) -> str:
    seconds, rest = divmod(nanos, _NANOS)
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:  # protobuf can hold what no calendar has
        return f"{seconds} seconds since 1970"
    return moment.isoformat() + (f".{rest:09}".rstrip("0") if rest else "") + "Z"


def _relative_to_now(given: dict[str, Any]) -> Iterator[Rule]:
    if given.pop("lt_now", False):
        yield Rule(lambda at: at < time.time_ns(), lambda at: f"must be in the past, is {_timestamp_text(at)}")
    if given.pop("gt_now", False):
        yield Rule(lambda at: at > time.time_ns(), lambda at: f"must be in the future, is {_timestamp_text(at)}")
    if "within" in given:
        span = given.pop("within")  # nanoseconds already: `_ordered` has seen it
        words = f"must be within {_duration_text(span)} of now"
        yield Rule(lambda at: abs(at - time.time_ns()) <= span, lambda at: f"{words}, is {_timestamp_text(at)}")


# Text and bytes


def _text(given: dict[str, Any]) -> Iterator[Rule]:
    in_bytes = {"len_bytes": "len", "min_bytes": "min_len", "max_bytes": "max_len"}
    sizes = {plain: given.pop(name) for name, plain in in_bytes.items() if name in given}
    yield from _sizes(given, len, "characters")
    yield from _sizes(sizes, lambda text: len(text.encode()), "bytes")
    yield from _parts(given, str)
    for name, (matches, words) in text_formats.FORMATS.items():
        if given.pop(name, False):
            yield Rule(matches, _explain(words, _quoted))
    strict = given.pop("strict", True)
    if regex := given.pop("well_known_regex", 0):
        matches, words = text_formats.header_format(regex, strict=strict)
        yield Rule(matches, lambda _: words)  # a header's value may be a secret: it is not quoted


def _sizes(given: dict[str, Any], measure: Callable[[Any], int], unit: str) -> Iterator[Rule]:
    if "len" in given:
        size = given.pop("len")
        yield Rule(lambda value: measure(value) == size, lambda value: f"must have {size} {unit}, has {measure(value)}")
    least = given.pop("min_len", 0)
    if least == 1:
        yield Rule(operator.truth, lambda _: "must not be empty")
    elif least:
        yield Rule(
            lambda value: measure(value) >= least,
            lambda value: f"must have at least {least} {unit}, has {measure(value)}",
        )
    if "max_len" in given:
        most = given.pop("max_len")
        yield Rule(
            lambda value: measure(value) <= most,
            lambda value: f"must have at most {most} {unit}, has {measure(value)}",
        )


def _parts(given: dict[str, Any], kind: type[str] | type[bytes]) -> Iterator[Rule]:
    """`prefix`, `suffix`, `contains`, `not_contains` and `pattern`."""
    if "prefix" in given:
        head = given.pop("prefix")
        yield Rule(lambda value: value.startswith(head), lambda value: f"must start with {head!r}, is {_quoted(value)}")
    if "suffix" in given:
        tail = given.pop("suffix")
        yield Rule(lambda value: value.endswith(tail), lambda value: f"must end with {tail!r}, is {_quoted(value)}")
    if "contains" in given:
        part = given.pop("contains")
        yield Rule(lambda value: part in value, lambda value: f"must contain {part!r}, is {_quoted(value)}")
    if "not_contains" in given:
        bad = given.pop("not_contains")
        yield Rule(lambda value: bad not in value, lambda value: f"must not contain {bad!r}, is {_quoted(value)}")
    if "pattern" in given:
        pattern = given.pop("pattern")
        yield Rule(
            _expression(pattern, kind).fullmatch,
            lambda value: f"must match the pattern {pattern}, is {_quoted(value)}",
        )


def _expression(pattern: str, kind: type[str] | type[bytes]) -> re.Pattern[Any]:
    """A regular expression in RE2's syntax, where classes are those of ASCII.

    What RE2 writes differently from Python is refused, not misread: `re` itself refuses \\p, \\Q and \\C, but would
    read a POSIX class as a set of its letters.
    """
    if "[[:" in pattern or "[^[:" in pattern:
        raise UnsupportedRuleError(f"pattern {pattern}: POSIX classes are not known")
    try:
        return re.compile(pattern, re.ASCII) if kind is str else re.compile(pattern.encode())
    except re.error as error:
        raise UnsupportedRuleError(f"pattern {pattern}: {error}") from None


def _byte_formats(given: dict[str, Any]) -> Iterator[Rule]:
    for name, sizes in (("ip", (4, 16)), ("ipv4", (4,)), ("ipv6", (16,))):
        if given.pop(name, False):
            words = f"must be an {name.replace('ip', 'IP')} address of {' or '.join(map(str, sizes))} bytes"
            yield _of_size(sizes, words)


def _of_size(sizes: tuple[int, ...], words: str) -> Rule:
    return Rule(lambda value: len(value) in sizes, lambda value: f"{words}, has {len(value)}")
