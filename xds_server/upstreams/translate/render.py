"""Envoy's messages as text for people: proto JSON with the names that Envoy's documentation uses, in a stable order.

The text is the body of Envoy's filesystem subscriptions: `resources`, each with its `@type`.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from xds_server.upstreams.translate.json_writer import is_any, is_map, is_plain, map_value
from xds_server.upstreams.translate.message_types import decode_newer, message_type
from xds_server.upstreams.translate.overrides import unknown_fields

_INT64 = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


def to_yaml(messages: Iterable[Message]) -> str:
    """The messages as one YAML document."""
    return yaml.safe_dump(resources_of(messages), sort_keys=False, allow_unicode=True, width=120)


def to_json(messages: Iterable[Message]) -> str:
    """The messages as one JSON document, indented by two."""
    return json.dumps(resources_of(messages), indent=2, ensure_ascii=False) + "\n"


def to_dict(message: Message) -> dict[str, Any]:
    """One message as proto JSON, fields by number, map entries by key, the fields that only newer Envoys have last."""
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if is_map(field):
            inner = map_value(field)
            shown[field.name] = {str(key): _value(inner, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            shown[field.name] = [_value(field, item) for item in value]
        else:
            shown[field.name] = _value(field, value)
    if newer := unknown_fields(message):
        shown.update(decode_newer(message.DESCRIPTOR.full_name, newer) or {})
    return shown


def resources_of(messages: Iterable[Message]) -> dict[str, Any]:
    """The messages as plain data."""
    return {"resources": [{"@type": f"type.googleapis.com/{m.DESCRIPTOR.full_name}", **to_dict(m)} for m in messages]}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _message(value)
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        return names[value].name if value in names else value
    if isinstance(value, bytes):
        return _base64(value)
    return str(value) if field.cpp_type in _INT64 else value


def _message(message: Any) -> Any:
    if is_any(message):
        return _any(message)
    return _sorted(json_format.MessageToDict(message)) if is_plain(message.DESCRIPTOR) else to_dict(message)


def _sorted(value: Any) -> Any:
    """A `Struct` keeps no order of its own."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _any(message: Any) -> dict[str, Any]:
    name = message.TypeName()
    kind = message_type(name)
    if kind is None:
        fields = decode_newer(name, message.value)
        return {"@type": message.type_url, **({"value": _base64(message.value)} if fields is None else fields)}
    inner = _message(kind.FromString(message.value))
    return {"@type": message.type_url, **({"value": inner} if is_plain(kind.DESCRIPTOR) else inner)}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
