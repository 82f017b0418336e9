"""Proto JSON written over a message that has values already, with every mistake told by its place.

`json_format.ParseDict` reads single values; around it, this walks message and JSON side by side, since ParseDict can
neither replace, nor honour a `false`, nor report more than one mistake, nor keep a field that xds-protos lacks.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from udpa.annotations import sensitive_pb2

from xds_server.upstreams.model import Problem
from xds_server.upstreams.model.base import PRIVATE_KEY, Location, unknown_field
from xds_server.upstreams.translate.message_types import encode_newer, message_type, newer_fields

_ANY: Final = "google.protobuf.Any"
_URL_PREFIX: Final = "type.googleapis.com/"
_PARSER_PREAMBLE: Final = re.compile(r"^(?:Failed to parse \w+ field: )+|( at [\w.\[\]]+)?\.*$")
_KINDS: Final = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number from 0 to 4294967295",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number from 0",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_STRING: "text",
}
_WRITTEN_AS: Final = {
    "google.protobuf.Duration": "seconds with their unit, for example '5s' or '0.25s'",
    "google.protobuf.Struct": "fields (name: value)",
    "google.protobuf.ListValue": "a list",
    "google.protobuf.Timestamp": "a time, for example '2026-01-31T12:00:00Z'",
}


def is_any(message: Any) -> bool:
    """Whether a message is an `Any`."""
    return bool(message.DESCRIPTOR.full_name == _ANY)


def is_sensitive(field: FieldDescriptor) -> bool:
    """Whether Envoy's protos say that what a field holds is secret."""
    return bool(field.GetOptions().Extensions[sensitive_pb2.sensitive])


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def map_value(field: Any) -> FieldDescriptor:
    """The field that describes the values of a map."""
    value: FieldDescriptor = field.message_type.fields_by_name["value"]
    return value


def is_plain(kind: Any) -> bool:
    """Whether a value is one thing, replaced whole: a scalar, or a message whose JSON is not its fields (durations …)."""
    return kind is None or bool(kind.full_name.startswith("google.protobuf.") and kind.full_name != _ANY)


class JsonWriter:
    """Writes proto JSON over messages, and adds what is wrong with it to `problems`."""

    def __init__(self, problems: list[Problem], refused: Mapping[str, Collection[str]] | None = None) -> None:
        """`refused`: by message type, fields that whoever wrote another one cannot have meant."""
        self._problems = problems
        self._refused = refused or {}
        self._is_hidden = False
        """Whether what is written at the moment may be secret, so that no problem shows it."""

    def write(self, message: Any, given: Any, at: Location) -> None:
        """Write the fields of `given` over `message`; `at` is where `given` stands in the document."""
        if not isinstance(given, Mapping):
            self._complain(at, f"expected fields (name: value), found {self._shown(given)}")
            return
        fields = {name: field for field in message.DESCRIPTOR.fields for name in (field.name, field.json_name)}
        taken: dict[str, str] = {}
        for key, value in given.items():
            here = (*at, key)
            field = fields.get(key)
            if field is None:
                self._newer(message, key, value, here)
                continue
            place = field.containing_oneof.name if field.containing_oneof else field.name
            if value is not None and (other := taken.setdefault(place, key)) != key:
                self._complain(here, f"{other!r} is given as well, and only one of them can be")
                continue
            self._field(message, field, value, here)

    def _field(self, message: Any, field: FieldDescriptor, value: Any, here: Location) -> None:
        outer = self._is_hidden
        self._is_hidden = outer or is_sensitive(field)
        self._value(message, field, value, here)
        self._is_hidden = outer

    def _value(self, message: Any, field: FieldDescriptor, value: Any, here: Location) -> None:
        if value is None:
            message.ClearField(field.name)
        elif is_map(field):
            self._map(message, field, value, here)
        elif field.is_repeated:
            self._list(message, field, value, here)
        elif is_plain(field.message_type):
            message.ClearField(field.name)
            self._plain(message, field, value, value, here)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self._message(inner, value, here)

    def _message(self, message: Any, value: Any, here: Location) -> None:
        (self._any if is_any(message) else self.write)(message, value, here)

    def _map(self, message: Any, field: FieldDescriptor, value: Any, here: Location) -> None:
        if not isinstance(value, Mapping):
            self._complain(here, f"expected fields (name: value), found {self._shown(value)}")
            return
        entries = getattr(message, field.name)
        inner = map_value(field)
        for key, item in value.items():
            if item is None:
                entries.pop(key, None)
            elif is_plain(inner.message_type):
                entries.pop(key, None)
                self._plain(message, field, {key: item}, item, (*here, key), inner)
            else:
                self._message(entries[key], item, (*here, key))

    def _list(self, message: Any, field: FieldDescriptor, value: Any, here: Location) -> None:
        if not isinstance(value, list | tuple):
            self._complain(here, f"expected a list, found {self._shown(value)}")
            return
        message.ClearField(field.name)
        for index, item in enumerate(value):
            if is_plain(field.message_type):
                self._plain(message, field, [item], item, (*here, index))
            else:
                self._message(getattr(message, field.name).add(), item, (*here, index))

    def _plain(
        self,
        message: Any,
        field: FieldDescriptor,
        value: Any,
        shown: Any,
        here: Location,
        of: FieldDescriptor | None = None,
    ) -> None:
        try:
            json_format.ParseDict({field.name: value}, message)
        except json_format.ParseError as error:
            expected = _expected(of or field)
            said = "not what this field takes" if self._is_hidden else _PARSER_PREAMBLE.sub("", str(error))
            self._complain(here, f"expected {expected}, found {self._shown(shown)}" if expected else said)

    def _any(self, message: Any, value: Any, here: Location) -> None:
        if not isinstance(value, Mapping) or not isinstance(value.get("@type"), str):
            self._complain(here, f"expected fields with '@type', for example '@type': {_URL_PREFIX}envoy.…")
            return
        name = value["@type"].rpartition("/")[2]
        rest = {key: item for key, item in value.items() if key != "@type"}
        kind = message_type(name)
        if kind is None:
            self._newer_any(message, name, rest, here)
            return
        held = kind()
        if message.TypeName() == name:
            held.ParseFromString(message.value)
        if is_plain(kind.DESCRIPTOR):
            try:
                json_format.ParseDict(rest["value"], held)
            except (json_format.ParseError, KeyError):
                self._complain((*here, "value"), f"expected the JSON of a {name}")
        else:
            self._message(held, rest, here)
        message.type_url, message.value = _URL_PREFIX + name, held.SerializeToString(deterministic=True)

    def _newer_any(self, message: Any, name: str, rest: dict[str, Any], here: Location) -> None:
        try:
            body = encode_newer(name, rest)
        except ValueError as error:
            self._complain(here, str(error) or f"these fields are not the proto JSON of a {name}")
            return
        if body is None:
            self._complain((*here, "@type"), f"there is no type {name!r}")
        else:
            message.type_url, message.value = _URL_PREFIX + name, body

    def _newer(self, message: Any, key: str, value: Any, here: Location) -> None:
        """A field that xds-protos does not know: its bytes come from envoy-data-plane, if that knows it."""
        kind = message.DESCRIPTOR
        snake = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)
        newer = newer_fields(kind.full_name)
        if snake not in newer:
            refused = self._refused.get(kind.full_name, ())
            known = sorted((newer | {field.name for field in kind.fields}).difference(refused))
            self._complain(here, unknown_field(key, known))
        elif value is not None:
            try:
                message.MergeFromString(encode_newer(kind.full_name, {snake: value}) or b"")
            except ValueError as error:
                said = "" if self._is_hidden else str(error)
                self._complain(here, said or f"{self._shown(value)} is not the proto JSON of this field")

    def _shown(self, value: Any) -> str:
        """A value as YAML and JSON write it, unless it may be secret."""
        if self._is_hidden or PRIVATE_KEY in str(value):
            return "something that is not shown, as it may be secret"
        return repr(value) if isinstance(value, str) else json.dumps(value, default=str)

    def _complain(self, at: Location, message: str) -> None:
        self._problems.append(Problem(at, message))


def _expected(field: FieldDescriptor) -> str | None:
    """In words, what the JSON of one value of `field` looks like; None when its parser says it better."""
    if field.enum_type is not None:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    kind = field.message_type
    if kind is None:
        return _KINDS[field.cpp_type]
    if kind.full_name.endswith("Value") and "value" in kind.fields_by_name:  # a wrapper
        return _expected(kind.fields_by_name["value"])
    return _WRITTEN_AS.get(kind.full_name)
