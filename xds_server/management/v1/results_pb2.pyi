from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WriteResult(_message.Message):
    __slots__ = ("revision", "changed", "state", "note", "changes", "warnings", "definition_revision", "override_revision")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_REVISION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    changed: bool
    state: str
    note: str
    changes: _containers.RepeatedCompositeFieldContainer[RecordChange]
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    definition_revision: int
    override_revision: int
    def __init__(self, revision: _Optional[int] = ..., changed: _Optional[bool] = ..., state: _Optional[str] = ..., note: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[RecordChange, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., definition_revision: _Optional[int] = ..., override_revision: _Optional[int] = ...) -> None: ...

class RecordChange(_message.Message):
    __slots__ = ("kind", "name", "action")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    action: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., action: _Optional[str] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("upstream", "field", "code", "message", "fix")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    field: str
    code: str
    message: str
    fix: str
    def __init__(self, upstream: _Optional[str] = ..., field: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...
