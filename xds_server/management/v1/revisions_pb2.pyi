import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from xds_server.management.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Revision(_message.Message):
    __slots__ = ("revision", "time", "author", "message", "source", "client", "state", "refers_to", "note", "changes", "delivery", "degraded", "wait")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REFERS_TO_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    time: _timestamp_pb2.Timestamp
    author: str
    message: str
    source: str
    client: str
    state: str
    refers_to: int
    note: str
    changes: _containers.RepeatedCompositeFieldContainer[_results_pb2.RecordChange]
    delivery: Delivery
    degraded: _containers.RepeatedCompositeFieldContainer[Degradation]
    wait: WaitResult
    def __init__(self, revision: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., author: _Optional[str] = ..., message: _Optional[str] = ..., source: _Optional[str] = ..., client: _Optional[str] = ..., state: _Optional[str] = ..., refers_to: _Optional[int] = ..., note: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[_results_pb2.RecordChange, _Mapping]]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., degraded: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., wait: _Optional[_Union[WaitResult, _Mapping]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("published", "affected", "acknowledged", "warm", "left", "pending", "rejected", "seconds", "awaited_replicas", "unknown")
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    AWAITED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    published: bool
    affected: int
    acknowledged: int
    warm: int
    left: int
    pending: _containers.RepeatedCompositeFieldContainer[PendingNode]
    rejected: _containers.RepeatedCompositeFieldContainer[RejectingNode]
    seconds: float
    awaited_replicas: _containers.RepeatedScalarFieldContainer[str]
    unknown: str
    def __init__(self, published: _Optional[bool] = ..., affected: _Optional[int] = ..., acknowledged: _Optional[int] = ..., warm: _Optional[int] = ..., left: _Optional[int] = ..., pending: _Optional[_Iterable[_Union[PendingNode, _Mapping]]] = ..., rejected: _Optional[_Iterable[_Union[RejectingNode, _Mapping]]] = ..., seconds: _Optional[float] = ..., awaited_replicas: _Optional[_Iterable[str]] = ..., unknown: _Optional[str] = ...) -> None: ...

class PendingNode(_message.Message):
    __slots__ = ("node", "what")
    NODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    node: str
    what: str
    def __init__(self, node: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...

class RejectingNode(_message.Message):
    __slots__ = ("node", "type", "detail", "culprits", "upstreams")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CULPRITS_FIELD_NUMBER: _ClassVar[int]
    UPSTREAMS_FIELD_NUMBER: _ClassVar[int]
    node: str
    type: str
    detail: str
    culprits: _containers.RepeatedScalarFieldContainer[str]
    upstreams: _containers.RepeatedCompositeFieldContainer[BlamedDefinition]
    def __init__(self, node: _Optional[str] = ..., type: _Optional[str] = ..., detail: _Optional[str] = ..., culprits: _Optional[_Iterable[str]] = ..., upstreams: _Optional[_Iterable[_Union[BlamedDefinition, _Mapping]]] = ...) -> None: ...

class BlamedDefinition(_message.Message):
    __slots__ = ("kind", "name", "field")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    field: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("node", "kind", "name", "field", "detail")
    NODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    node: str
    kind: str
    name: str
    field: str
    detail: str
    def __init__(self, node: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class WaitResult(_message.Message):
    __slots__ = ("ok", "detail", "share", "delivery")
    OK_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    detail: str
    share: float
    delivery: Delivery
    def __init__(self, ok: _Optional[bool] = ..., detail: _Optional[str] = ..., share: _Optional[float] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("json", "dry_run", "prune", "wait", "timeout", "message", "with_envoy")
    JSON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WITH_ENVOY_FIELD_NUMBER: _ClassVar[int]
    json: str
    dry_run: bool
    prune: bool
    wait: float
    timeout: str
    message: str
    with_envoy: bool
    def __init__(self, json: _Optional[str] = ..., dry_run: _Optional[bool] = ..., prune: _Optional[bool] = ..., wait: _Optional[float] = ..., timeout: _Optional[str] = ..., message: _Optional[str] = ..., with_envoy: _Optional[bool] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("result", "preview", "wait")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    result: _results_pb2.WriteResult
    preview: Preview
    wait: WaitResult
    def __init__(self, result: _Optional[_Union[_results_pb2.WriteResult, _Mapping]] = ..., preview: _Optional[_Union[Preview, _Mapping]] = ..., wait: _Optional[_Union[WaitResult, _Mapping]] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("changes", "held", "warnings", "envoy")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    ENVOY_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[RecordPreview]
    held: str
    warnings: _containers.RepeatedCompositeFieldContainer[_results_pb2.Warning]
    envoy: EnvoyTrial
    def __init__(self, changes: _Optional[_Iterable[_Union[RecordPreview, _Mapping]]] = ..., held: _Optional[str] = ..., warnings: _Optional[_Iterable[_Union[_results_pb2.Warning, _Mapping]]] = ..., envoy: _Optional[_Union[EnvoyTrial, _Mapping]] = ...) -> None: ...

class EnvoyTrial(_message.Message):
    __slots__ = ("version", "checked", "refused")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    version: str
    checked: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedDefinition]
    def __init__(self, version: _Optional[str] = ..., checked: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedDefinition, _Mapping]]] = ...) -> None: ...

class RefusedDefinition(_message.Message):
    __slots__ = ("kind", "name", "detail")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    detail: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class RecordPreview(_message.Message):
    __slots__ = ("kind", "name", "action", "effect", "drops", "nodes", "diff", "warnings")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    action: str
    effect: str
    drops: _containers.RepeatedScalarFieldContainer[str]
    nodes: AffectedNodes
    diff: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedCompositeFieldContainer[_results_pb2.Warning]
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., action: _Optional[str] = ..., effect: _Optional[str] = ..., drops: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Union[AffectedNodes, _Mapping]] = ..., diff: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[_Union[_results_pb2.Warning, _Mapping]]] = ...) -> None: ...

class AffectedNodes(_message.Message):
    __slots__ = ("count", "ids")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    count: int
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, count: _Optional[int] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ("revision", "wait", "timeout")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    wait: float
    timeout: str
    def __init__(self, revision: _Optional[int] = ..., wait: _Optional[float] = ..., timeout: _Optional[str] = ...) -> None: ...

class DiffRequest(_message.Message):
    __slots__ = ("revision", "to", "with_envoy")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WITH_ENVOY_FIELD_NUMBER: _ClassVar[int]
    revision: int
    to: int
    with_envoy: bool
    def __init__(self, revision: _Optional[int] = ..., to: _Optional[int] = ..., with_envoy: _Optional[bool] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("revision", "with_overrides", "wait", "timeout", "message")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WITH_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    with_overrides: bool
    wait: float
    timeout: str
    message: str
    def __init__(self, revision: _Optional[int] = ..., with_overrides: _Optional[bool] = ..., wait: _Optional[float] = ..., timeout: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ConfirmRequest(_message.Message):
    __slots__ = ("revision", "message")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    message: str
    def __init__(self, revision: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("after_revision",)
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    after_revision: int
    def __init__(self, after_revision: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("revision", "committed", "change_count")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    CHANGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    committed: Revision
    change_count: int
    def __init__(self, revision: _Optional[int] = ..., committed: _Optional[_Union[Revision, _Mapping]] = ..., change_count: _Optional[int] = ...) -> None: ...
