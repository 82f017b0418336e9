from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Start(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: bytes
    def __init__(self, options: _Optional[bytes] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("revision", "committed_at", "selectors", "steps")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    committed_at: float
    selectors: Selectors
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, revision: _Optional[int] = ..., committed_at: _Optional[float] = ..., selectors: _Optional[_Union[Selectors, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class Selectors(_message.Message):
    __slots__ = ("selectors",)
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    selectors: _containers.RepeatedCompositeFieldContainer[Selector]
    def __init__(self, selectors: _Optional[_Iterable[_Union[Selector, _Mapping]]] = ...) -> None: ...

class Selector(_message.Message):
    __slots__ = ("key", "by_place")
    KEY_FIELD_NUMBER: _ClassVar[int]
    BY_PLACE_FIELD_NUMBER: _ClassVar[int]
    key: str
    by_place: bool
    def __init__(self, key: _Optional[str] = ..., by_place: _Optional[bool] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("group", "is_whole", "is_unwritten", "upsert", "remove")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    IS_WHOLE_FIELD_NUMBER: _ClassVar[int]
    IS_UNWRITTEN_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    group: str
    is_whole: bool
    is_unwritten: bool
    upsert: _containers.RepeatedCompositeFieldContainer[Resource]
    remove: _containers.RepeatedCompositeFieldContainer[Reference]
    def __init__(self, group: _Optional[str] = ..., is_whole: _Optional[bool] = ..., is_unwritten: _Optional[bool] = ..., upsert: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., remove: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("type_url", "name", "version", "body", "references")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    name: str
    version: str
    body: bytes
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    def __init__(self, type_url: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., body: _Optional[bytes] = ..., references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("type_url", "name")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    name: str
    def __init__(self, type_url: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Found(_message.Message):
    __slots__ = ("number", "resource")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    number: int
    resource: Resource
    def __init__(self, number: _Optional[int] = ..., resource: _Optional[_Union[Resource, _Mapping]] = ...) -> None: ...

class Listening(_message.Message):
    __slots__ = ("port", "problem", "is_serving")
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    IS_SERVING_FIELD_NUMBER: _ClassVar[int]
    port: int
    problem: str
    is_serving: bool
    def __init__(self, port: _Optional[int] = ..., problem: _Optional[str] = ..., is_serving: _Optional[bool] = ...) -> None: ...

class Want(_message.Message):
    __slots__ = ("dialect", "selectors", "region", "zone")
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    dialect: str
    selectors: _containers.RepeatedScalarFieldContainer[str]
    region: str
    zone: str
    def __init__(self, dialect: _Optional[str] = ..., selectors: _Optional[_Iterable[str]] = ..., region: _Optional[str] = ..., zone: _Optional[str] = ...) -> None: ...

class Drop(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, groups: _Optional[_Iterable[str]] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("number", "group", "refused")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    number: int
    group: str
    refused: Resource
    def __init__(self, number: _Optional[int] = ..., group: _Optional[str] = ..., refused: _Optional[_Union[Resource, _Mapping]] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("delivered", "forgotten", "nodes", "rollouts")
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    delivered: int
    forgotten: int
    nodes: _containers.RepeatedScalarFieldContainer[bytes]
    rollouts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, delivered: _Optional[int] = ..., forgotten: _Optional[int] = ..., nodes: _Optional[_Iterable[bytes]] = ..., rollouts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Events(_message.Message):
    __slots__ = ("events", "lost")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    lost: int
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., lost: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("kind", "stream", "node", "type_url", "version", "nonce", "names", "detail", "culprits", "applied")
    KIND_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CULPRITS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    kind: str
    stream: int
    node: Node
    type_url: str
    version: str
    nonce: str
    names: _containers.RepeatedScalarFieldContainer[str]
    detail: str
    culprits: _containers.RepeatedScalarFieldContainer[str]
    applied: bool
    def __init__(self, kind: _Optional[str] = ..., stream: _Optional[int] = ..., node: _Optional[_Union[Node, _Mapping]] = ..., type_url: _Optional[str] = ..., version: _Optional[str] = ..., nonce: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., detail: _Optional[str] = ..., culprits: _Optional[_Iterable[str]] = ..., applied: _Optional[bool] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "user_agent")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_agent: str
    def __init__(self, id: _Optional[str] = ..., user_agent: _Optional[str] = ...) -> None: ...

class Figures(_message.Message):
    __slots__ = ("figures",)
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    def __init__(self, figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ...) -> None: ...

class Figure(_message.Message):
    __slots__ = ("name", "labels", "value")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.ScalarMap[str, str]
    value: float
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., value: _Optional[float] = ...) -> None: ...
