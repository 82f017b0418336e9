"""Envoy's own field rules, interpreted: a resource that breaks one never leaves the control plane.

Envoy's protos carry their constraints as options (`validate.rules`, protoc-gen-validate), and Envoy refuses a message
that breaks one, together with everything else in the same response. So every resource is checked before it
enters a snapshot. The rules of a message type are compiled once, when the first message of the type is checked;
checking is then a walk along the fields that can be wrong at all. Unknown fields and unknown packed types pass: Envoy
may be newer than our protos.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from validate import validate_pb2

from xds_server.xds.any_types import message_class
from xds_server.xds.field_rules import Rule, UnsupportedRuleError, compile_rules, duration_rule
from xds_server.xds.rule_options import (
    ANY,
    DURATION,
    can_be_wrong,
    is_exempt,
    is_map,
    is_required,
    needs_a_member,
    rules_of,
)


class Violation(NamedTuple):
    """One field that Envoy would refuse."""

    path: str
    """Where, in proto field names: `circuit_breakers.thresholds[0].max_connections`; "" is the message itself."""
    message: str
    """What the rule demands, in plain words: `must be at least 1, is 0`."""


Check = Callable[[Any], Sequence[Violation]]
"""The violations of a value, with paths relative to it."""

_FINE: Final[tuple[Violation, ...]] = ()
_WRAPPERS: Final = {
    f"google.protobuf.{kind}Value": kind.lower()
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
_KINDS: Final = {ANY: "any", DURATION: "duration", "google.protobuf.Timestamp": "timestamp", **_WRAPPERS}
"""The messages that have rules of their own kind."""
_REQUIRED: Final = validate_pb2.AnyRules(required=True)


def check(message: Message) -> list[Violation]:
    """Every field of `message` that breaks one of Envoy's field rules, with those of packed messages; empty when none.

    This is what Envoy checks first, not all that it checks: references between resources, for example, come later. It is
    stricter where Envoy does not look, or not yet: NaN, and packed messages that Envoy does not open or does not hold
    against their rules (1.40: `typed_filter_metadata` and the settings of load balancing policies).
    Raises UnsupportedRuleError for a descriptor with a rule that is not known.
    """
    return list(message_rules(message.DESCRIPTOR).violations(message))


@cache
def message_rules(descriptor: Descriptor) -> "MessageRules":
    """The rules of one message type, shared by all who ask."""
    return MessageRules(descriptor)


class MessageRules:
    """What one message type demands of its fields.

    Compiled at the first use and not before: types refer to each other in circles, and most are never met.
    """

    __slots__ = ("_compiled", "_descriptor")

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._compiled: _Compiled | None = None

    def compile(self) -> "_Compiled":
        """Read the rules. Raises UnsupportedRuleError for one that is not known."""
        compiled = self._compiled = _compile(self._descriptor)
        return compiled

    def violations(self, message: Any) -> Sequence[Violation]:
        """What is wrong with a message of the type, with paths relative to it."""
        scalars, others, when_set, oneofs = self._compiled or self.compile()
        found: list[Violation] | None = None
        for name, passes, explain in scalars:
            if not passes(getattr(message, name)):
                found = _below(name, (Violation("", explain(getattr(message, name))),), found)
        for name, check_all in others:
            if wrong := check_all(getattr(message, name)):
                found = _below(name, wrong, found)
        for name, check_set, required in when_set:
            if message.HasField(name):
                if check_set is not None and (wrong := check_set(getattr(message, name))):
                    found = _below(name, wrong, found)
            elif required:
                found = _below(name, (Violation("", "must be set"),), found)
        for oneof, members, missing in oneofs:
            name = message.WhichOneof(oneof)
            if name is None:
                found = _below(oneof, missing, found)
            elif name in members and (wrong := members[name](getattr(message, name))):
                found = _below(name, wrong, found)
        return found or _FINE


class _Compiled(NamedTuple):
    """The fields of a message type that can be wrong."""

    scalars: list[tuple[str, Callable[[Any], object], Callable[[Any], str]]]
    """Fields whose 0 or "" cannot be told from unset, so that it is checked like any value; with their `Rule`."""
    repeated: list[tuple[str, Check]]
    """Lists and maps."""
    when_set: list[tuple[str, Check | None, bool]]
    """Fields that may be unset, which is wrong for the required ones."""
    oneofs: list[tuple[str, dict[str, Check], tuple[Violation, ...]]]
    """Oneofs with the checks of their members, and what to say when none is set."""


def _compile(descriptor: Descriptor) -> _Compiled:
    compiled = _Compiled([], [], [], [])
    if is_exempt(descriptor):
        return compiled
    for field in descriptor.fields:
        if field.containing_oneof is not None:
            continue
        if field.is_repeated:
            if (check_all := _field_check(field)) is not None:
                compiled.repeated.append((field.name, check_all))
        elif field.has_presence:
            checked, required = _field_check(field), is_required(field)
            if checked is not None or required:
                compiled.when_set.append((field.name, checked, required))
        elif (rule := _value_rule(field, rules_of(field))) is not None:
            compiled.scalars.append((field.name, *rule))
    for oneof in descriptor.oneofs:
        # A member is checked when it is the one that is set, so `required` on a member says nothing.
        members = {field.name: checked for field in oneof.fields if (checked := _field_check(field)) is not None}
        if needs_a_member(oneof):
            words = f"one of {', '.join(field.name for field in oneof.fields)} must be set"
            compiled.oneofs.append((oneof.name, members, (Violation("", words),)))
        elif len(members) > 1:
            compiled.oneofs.append((oneof.name, members, ()))
        else:  # one HasField costs less than to ask which member it is
            compiled.when_set.extend((name, checked, False) for name, checked in members.items())
    return compiled


def _field_check(field: FieldDescriptor) -> Check | None:
    """What is demanded of a field's value when there is one, or None when nothing is."""
    rules = rules_of(field)
    if field.message_type is not None and is_map(field):
        return _map_check(field.message_type, rules.map)
    if field.is_repeated:
        return _list_check(field, rules.repeated)
    return _value_check(field, rules)


def _value_check(field: FieldDescriptor, rules: Any) -> Check | None:
    """What is demanded of one value: of a single field, or of an item, key or value of many."""
    message = field.message_type
    if message is not None:
        kind = rules.WhichOneof("type")
        if message.full_name != ANY and rules.any == _REQUIRED:
            # Envoy writes so in ExtensionConfigSource.config_source: it must be set, and its content is not checked.
            return None
        if kind is not None and kind != _KINDS.get(message.full_name):
            raise UnsupportedRuleError(f"{field.full_name}: {kind} rules do not fit a {message.full_name}")
        if message.full_name == ANY:
            return _any_check(rules)
    if (rule := _value_rule(field, rules)) is not None:
        passes, explain = rule
        return lambda value: _FINE if passes(value) else (Violation("", explain(value)),)
    if message is None or rules.message.skip or not can_be_wrong(message):
        return None
    return message_rules(message).violations


def _value_rule(field: FieldDescriptor, rules: Any) -> Rule | None:
    """The rule for a scalar, also for one in a wrapper, a duration or a timestamp, or None when there is none."""
    kind = rules.WhichOneof("type")
    declared = getattr(rules, kind) if kind is not None else None
    name = field.message_type.full_name if field.message_type is not None else None
    try:
        if name == DURATION:
            return duration_rule(declared)
        if declared is None:
            return None
        rule = compile_rules(declared, field.enum_type)
    except UnsupportedRuleError as error:
        raise UnsupportedRuleError(f"{field.full_name}: {error}") from None
    if rule is None or name not in _WRAPPERS:
        return rule
    passes, explain = rule
    return Rule(lambda wrapper: passes(wrapper.value), lambda wrapper: explain(wrapper.value))


def _any_check(rules: Any) -> Check:
    rule = compile_rules(rules.any)
    skip = bool(rules.message.skip)

    def checked(packed: Any) -> Sequence[Violation]:
        if rule is not None and not rule.passes(packed.type_url):
            return (Violation("type_url", rule.explain(packed.type_url)),)
        kind = None if skip else message_class(packed.type_url)
        if kind is None or not can_be_wrong(kind.DESCRIPTOR):
            return _FINE
        try:
            message = kind.FromString(packed.value)
        except DecodeError:
            return (Violation("value", f"is not an encoded {kind.DESCRIPTOR.full_name}"),)
        return message_rules(kind.DESCRIPTOR).violations(message)

    return checked


def _list_check(field: FieldDescriptor, rules: Any) -> Check | None:
    size = _size_rule(rules, rules.min_items, rules.max_items if rules.HasField("max_items") else None, "items")
    item = _value_check(field, rules.items)
    unique = bool(rules.unique)
    if size is None and item is None and not unique:
        return None

    def checked(values: Any) -> Sequence[Violation]:
        found: list[Violation] | None = None
        if size is not None and not size.passes(len(values)):
            found = [Violation("", size.explain(len(values)))]
        if unique:
            found = _duplicates(values, found)
        if item is not None:
            for index, value in enumerate(values):
                if wrong := item(value):
                    found = _below(f"[{index}]", wrong, found)
        return found or _FINE

    return checked


def _duplicates(values: Any, found: list[Violation] | None) -> list[Violation] | None:
    seen: set[Any] = set()
    for index, value in enumerate(values):
        key = value.SerializeToString(deterministic=True) if isinstance(value, Message) else value
        if key in seen:
            found = _below(f"[{index}]", (Violation("", "is there twice: every item must be different"),), found)
        seen.add(key)
    return found


def _map_check(entry: Descriptor, rules: Any) -> Check | None:
    size = _size_rule(rules, rules.min_pairs, rules.max_pairs if rules.HasField("max_pairs") else None, "entries")
    key_check = _value_check(entry.fields_by_name["key"], rules.keys)
    value_check = _value_check(entry.fields_by_name["value"], rules.values)
    if size is None and key_check is None and value_check is None:
        return None

    def checked(entries: Any) -> Sequence[Violation]:
        found: list[Violation] | None = None
        if size is not None and not size.passes(len(entries)):
            found = [Violation("", size.explain(len(entries)))]
        for key in sorted(entries):
            if key_check is not None and (wrong := key_check(key)):
                found = _below(f"[{key!r}]", [Violation("", f"the key {each.message}") for each in wrong], found)
            if value_check is not None and (wrong := value_check(entries[key])):
                found = _below(f"[{key!r}]", wrong, found)
        return found or _FINE

    return checked


def _size_rule(rules: Any, least: int, most: int | None, unit: str) -> Rule | None:
    """What is demanded of a number of items."""
    if not least and most is None:
        return None
    empty_is_fine = bool(rules.ignore_empty)

    def passes(count: int) -> bool:
        return (count >= least or (not count and empty_is_fine)) and (most is None or count <= most)

    def explain(count: int) -> str:
        bound = f"at least {least}" if count < least else f"at most {most}"
        return f"must have {bound} {unit}, has {count}"

    return Rule(passes, explain)


def _below(step: str, wrong: Sequence[Violation], found: list[Violation] | None) -> list[Violation]:
    """Adds to `found` what is wrong below one step of the path."""
    found = [] if found is None else found
    for path, message in wrong:
        found.append(Violation(f"{step}{'' if not path or path[0] == '[' else '.'}{path}", message))
    return found
