"""Secrets that are written out in `envoy:`. They would be in the store, in every past revision and in every answer, so they are
refused: Envoy takes each of them from a file or a variable of its own machine too.

Envoy's protos say themselves what is secret: `(udpa.annotations.sensitive)`. Of fields and types that are newer than
xds-protos, whose bytes cannot be read here, private keys are found by how they begin.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from xds_server.upstreams.model import Problem, RawCluster
from xds_server.upstreams.model.base import PRIVATE_KEY, Location
from xds_server.upstreams.translate.json_writer import JsonWriter, is_any, is_map, is_sensitive
from xds_server.upstreams.translate.message_types import message_type
from xds_server.upstreams.translate.written import written

INSTEAD: Final = "name a file of Envoy's machine (filename), or a variable (environment_variable), instead"
_HERE: Final = ("envoy",)
_REFERENCES: Final = ("filename", "environment_variable", "watched_directory")
"""Fields of a `DataSource` that say where a secret is, and are none."""


def written_out(cluster: Message, envoy: Mapping[str, Any] | RawCluster) -> list[Problem]:
    """Every secret in what `envoy` made of a Cluster, where it is written."""
    places = dict.fromkeys(_place(envoy, path) for path in _secrets(cluster, (), hidden=False))
    if not places and PRIVATE_KEY.encode() in cluster.SerializeToString():
        places[_HERE] = None
    return [
        Problem(place, f"a secret may not be written here, as everybody could read it: {INSTEAD}") for place in places
    ]


def _place(envoy: Mapping[str, Any] | RawCluster, path: Location) -> Location:
    return (*_HERE, *(path if isinstance(envoy, RawCluster) else written(envoy, path)))


def _secrets(message: Any, at: Location, *, hidden: bool) -> Iterator[Location]:
    """Where secrets are in a message. `hidden`: all of it is secret, but what says where a secret is."""
    if is_any(message):
        yield from _in_any(message, at, hidden=hidden)
        return
    is_source = message.DESCRIPTOR.name == "DataSource"
    for field, value in message.ListFields():
        here = (*at, field.name)
        if is_source and field.name in _REFERENCES:
            continue
        secret = hidden or is_sensitive(field)
        for place, each in _each(field, value, here):
            if isinstance(each, Message):
                yield from _secrets(each, place, hidden=secret)
            elif isinstance(each, str | bytes) and each and (secret or _is_key(each)):
                yield place


def _in_any(message: Any, at: Location, *, hidden: bool) -> Iterator[Location]:
    held = message_type(message.TypeName())
    try:
        inner = held.FromString(message.value) if held is not None else None
    except DecodeError:
        inner = None
    if inner is not None:
        yield from _secrets(inner, at, hidden=hidden)
    elif hidden or _is_key(message.value):
        yield at


def _each(field: FieldDescriptor, value: Any, at: Location) -> Iterator[tuple[Location, Any]]:
    """The values of a field, each with its place."""
    if is_map(field):
        yield from (((*at, key), value[key]) for key in value)
    elif field.is_repeated:
        yield from (((*at, index), each) for index, each in enumerate(value))
    else:
        yield at, value


def _is_key(value: str | bytes) -> bool:
    return PRIVATE_KEY in value if isinstance(value, str) else PRIVATE_KEY.encode() in value


def in_definition(envoy: Mapping[str, Any] | RawCluster) -> list[Problem]:
    """The same of a definition that is not translated. Empty also for what is wrong in another way, as far as it goes."""
    if not envoy:
        return []
    cluster = cluster_pb2.Cluster()
    if isinstance(envoy, RawCluster):
        try:
            cluster.MergeFromString(envoy.body)
        except DecodeError:
            return []
    else:
        JsonWriter([]).write(cluster, envoy, _HERE)
    return written_out(cluster, envoy)
