"""Reads the options in which Envoy's descriptors keep their rules (`validate/validate.proto`)."""

from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from validate import validate_pb2

from xds_server.xds.field_rules import UnsupportedRuleError

ANY: Final = "google.protobuf.Any"
DURATION: Final = "google.protobuf.Duration"

_KNOWN: Final = {
    "message": {"skip", "required"},
    "repeated": {"min_items", "max_items", "unique", "items", "ignore_empty"},
    # no_sparse needs no check: protobuf's maps have no empty places outside Go.
    "map": {"min_pairs", "max_pairs", "no_sparse", "keys", "values", "ignore_empty"},
}


def rules_of(field: FieldDescriptor) -> Any:
    """The `FieldRules` of a field, empty when it has none.

    Raises UnsupportedRuleError for a rule on messages, lists or maps that is not known, and for rules of another kind
    than the field's.
    """
    rules = field.GetOptions().Extensions[validate_pb2.rules]
    for name, known in _KNOWN.items():
        unknown = {rule.name for rule, _ in getattr(rules, name).ListFields()} - known
        if unknown:
            raise UnsupportedRuleError(f"{field.full_name}: the rule {', '.join(unknown)} is not known")
    kind = rules.WhichOneof("type")
    shape = "map" if is_map(field) else "repeated" if field.is_repeated else None
    if kind is not None and shape != (kind if kind in _KNOWN else None):
        raise UnsupportedRuleError(f"{field.full_name}: {kind} rules do not fit the field")
    return rules


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which descriptors show as a list of entries."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_required(field: FieldDescriptor) -> bool:
    """Whether the field must be set; said of a member of a oneof it means nothing."""
    rules = rules_of(field)
    return bool(rules.message.required or rules.any.required or rules.duration.required or rules.timestamp.required)


def needs_a_member(oneof: OneofDescriptor) -> bool:
    """Whether one member of the oneof must be set."""
    return bool(oneof.GetOptions().Extensions[validate_pb2.required])


def is_exempt(descriptor: Descriptor) -> bool:
    """Whether messages of the type are not checked, whatever the rules of their fields."""
    options = descriptor.GetOptions()
    return bool(options.Extensions[validate_pb2.disabled] or options.Extensions[validate_pb2.ignored])


@cache
def can_be_wrong(descriptor: Descriptor) -> bool:
    """Whether a rule can be reached from a message type: its own, an Any's that may bring one, or a Duration's."""
    seen, waiting = {descriptor.full_name}, [descriptor]
    while waiting:
        current = waiting.pop()
        if is_exempt(current):
            continue
        if any(map(needs_a_member, current.oneofs)):
            return True
        for field in current.fields:
            below = field.message_type
            if field.GetOptions().HasExtension(validate_pb2.rules):
                return True
            if below is None:
                continue
            if below.full_name in (ANY, DURATION):
                return True
            if below.full_name not in seen:
                seen.add(below.full_name)
                waiting.append(below)
    return False
