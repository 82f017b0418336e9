from xds_server.management.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Target(_message.Message):
    __slots__ = ("upstream", "target", "json", "state", "weight", "priority", "override", "definition_revision", "override_revision")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_REVISION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REVISION_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    json: str
    state: str
    weight: int
    priority: int
    override: TargetOverride
    definition_revision: int
    override_revision: int
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ..., json: _Optional[str] = ..., state: _Optional[str] = ..., weight: _Optional[int] = ..., priority: _Optional[int] = ..., override: _Optional[_Union[TargetOverride, _Mapping]] = ..., definition_revision: _Optional[int] = ..., override_revision: _Optional[int] = ...) -> None: ...

class TargetOverride(_message.Message):
    __slots__ = ("state", "weight", "drain_until", "expires")
    STATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    state: str
    weight: int
    drain_until: str
    expires: str
    def __init__(self, state: _Optional[str] = ..., weight: _Optional[int] = ..., drain_until: _Optional[str] = ..., expires: _Optional[str] = ...) -> None: ...

class TargetPatch(_message.Message):
    __slots__ = ("state", "weight", "drain_until", "expires", "clear")
    STATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    CLEAR_FIELD_NUMBER: _ClassVar[int]
    state: str
    weight: int
    drain_until: str
    expires: str
    clear: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, state: _Optional[str] = ..., weight: _Optional[int] = ..., drain_until: _Optional[str] = ..., expires: _Optional[str] = ..., clear: _Optional[_Iterable[str]] = ...) -> None: ...

class ExpectedRevisions(_message.Message):
    __slots__ = ("definition_revision", "override_revision")
    DEFINITION_REVISION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REVISION_FIELD_NUMBER: _ClassVar[int]
    definition_revision: int
    override_revision: int
    def __init__(self, definition_revision: _Optional[int] = ..., override_revision: _Optional[int] = ...) -> None: ...

class GetTargetRequest(_message.Message):
    __slots__ = ("upstream", "target")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ("upstream", "page_size", "page_token")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    page_size: int
    page_token: str
    def __init__(self, upstream: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTargetsResponse(_message.Message):
    __slots__ = ("targets", "next_page_token")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    next_page_token: str
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PatchTargetRequest(_message.Message):
    __slots__ = ("upstream", "target", "patch", "expected", "message")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    patch: TargetPatch
    expected: ExpectedRevisions
    message: str
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ..., patch: _Optional[_Union[TargetPatch, _Mapping]] = ..., expected: _Optional[_Union[ExpectedRevisions, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class PutTargetRequest(_message.Message):
    __slots__ = ("upstream", "target", "json", "expected", "message")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    json: str
    expected: ExpectedRevisions
    message: str
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ..., json: _Optional[str] = ..., expected: _Optional[_Union[ExpectedRevisions, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class DeleteTargetRequest(_message.Message):
    __slots__ = ("upstream", "target", "expected", "message")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    expected: ExpectedRevisions
    message: str
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ..., expected: _Optional[_Union[ExpectedRevisions, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class UpdateTargetsRequest(_message.Message):
    __slots__ = ("upstream", "target", "patch", "message")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    target: str
    patch: TargetPatch
    message: str
    def __init__(self, upstream: _Optional[str] = ..., target: _Optional[str] = ..., patch: _Optional[_Union[TargetPatch, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class UpdateTargetsResponse(_message.Message):
    __slots__ = ("received", "applied", "failed", "revision", "revisions", "errors")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    received: int
    applied: int
    failed: int
    revision: int
    revisions: int
    errors: _containers.RepeatedCompositeFieldContainer[UpdateError]
    def __init__(self, received: _Optional[int] = ..., applied: _Optional[int] = ..., failed: _Optional[int] = ..., revision: _Optional[int] = ..., revisions: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[UpdateError, _Mapping]]] = ...) -> None: ...

class UpdateError(_message.Message):
    __slots__ = ("index", "upstream", "target", "code", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    upstream: str
    target: str
    code: int
    message: str
    def __init__(self, index: _Optional[int] = ..., upstream: _Optional[str] = ..., target: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
