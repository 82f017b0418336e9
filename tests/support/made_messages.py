"""Message types made for one test each, for the field rules that Envoy's own protos do not use."""

import itertools
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    json_format,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message
from validate import validate_pb2

Field = descriptor_pb2.FieldDescriptorProto
_numbers = itertools.count()

KINDS = {
    "double": Field.TYPE_DOUBLE,
    "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
    "sint32": Field.TYPE_SINT32,
    "fixed64": Field.TYPE_FIXED64,
    "bool": Field.TYPE_BOOL,
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "enum": Field.TYPE_ENUM,
}
MESSAGES = {
    "duration": duration_pb2.Duration,
    "timestamp": timestamp_pb2.Timestamp,
    "any": any_pb2.Any,
    "wrapper": wrappers_pb2.UInt32Value,
}


def made(
    kind: str, rules: dict[str, Any], *, repeated: bool = False, optional: bool = False, exempt: str = ""
) -> type[Message]:
    """A message type whose one field, `value`, has a type and rules (a `FieldRules` as JSON).

    `exempt`: the option, `disabled` or `ignored`, that keeps its messages from being checked.
    """
    number = next(_numbers)
    file = descriptor_pb2.FileDescriptorProto(name=f"made{number}.proto", package=f"made{number}", syntax="proto3")
    file.dependency.extend(("validate/validate.proto", *(m.DESCRIPTOR.file.name for m in MESSAGES.values())))
    file.enum_type.add(name="Color").value.extend(
        descriptor_pb2.EnumValueDescriptorProto(name=name, number=n) for n, name in enumerate(("RED", "GREEN", "BLUE"))
    )
    message = file.message_type.add(name="Made")
    if exempt:
        message.options.Extensions[getattr(validate_pb2, exempt)] = True
    field = message.field.add(name="value", number=1)
    field.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    if kind in MESSAGES:
        field.type, field.type_name = Field.TYPE_MESSAGE, f".{MESSAGES[kind].DESCRIPTOR.full_name}"
    elif kind == "map":
        field.label, field.type = Field.LABEL_REPEATED, Field.TYPE_MESSAGE
        field.type_name = f".made{number}.Made.ValueEntry"
        entry = message.nested_type.add(name="ValueEntry")
        entry.options.map_entry = True
        for n, (name, type_) in enumerate((("key", Field.TYPE_STRING), ("value", Field.TYPE_INT32)), 1):
            entry.field.add(name=name, number=n, type=type_, label=Field.LABEL_OPTIONAL)
    else:
        field.type = KINDS[kind]
        if kind == "enum":
            field.type_name = f".made{number}.Color"
    if optional:
        message.oneof_decl.add(name="_value")
        field.oneof_index, field.proto3_optional = 0, True
    json_format.ParseDict(rules, field.options.Extensions[validate_pb2.rules])
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"made{number}.Made"))
