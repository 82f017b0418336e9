from xds_server.management.v1 import results_pb2 as _results_pb2
from xds_server.management.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Definition(_message.Message):
    __slots__ = ("name", "json", "revision", "origin", "line", "overrides")
    class OverridesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _targets_pb2.TargetOverride
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_targets_pb2.TargetOverride, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    name: str
    json: str
    revision: int
    origin: str
    line: int
    overrides: _containers.MessageMap[str, _targets_pb2.TargetOverride]
    def __init__(self, name: _Optional[str] = ..., json: _Optional[str] = ..., revision: _Optional[int] = ..., origin: _Optional[str] = ..., line: _Optional[int] = ..., overrides: _Optional[_Mapping[str, _targets_pb2.TargetOverride]] = ...) -> None: ...

class GetDefinitionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDefinitionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListDefinitionsResponse(_message.Message):
    __slots__ = ("definitions", "next_page_token")
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    definitions: _containers.RepeatedCompositeFieldContainer[Definition]
    next_page_token: str
    def __init__(self, definitions: _Optional[_Iterable[_Union[Definition, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PutDefinitionRequest(_message.Message):
    __slots__ = ("name", "json", "expected_revision", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    json: str
    expected_revision: int
    message: str
    def __init__(self, name: _Optional[str] = ..., json: _Optional[str] = ..., expected_revision: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class PatchDefinitionRequest(_message.Message):
    __slots__ = ("name", "json", "expected_revision", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    json: str
    expected_revision: int
    message: str
    def __init__(self, name: _Optional[str] = ..., json: _Optional[str] = ..., expected_revision: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class DeleteDefinitionRequest(_message.Message):
    __slots__ = ("name", "expected_revision", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_revision: int
    message: str
    def __init__(self, name: _Optional[str] = ..., expected_revision: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
