"""Message types by name: from xds-protos, and for what is newer than it from envoy-data-plane.

xds-protos lags behind Envoy's releases by some; envoy-data-plane follows them, but is slow to import and to encode, so
it is imported only when a field or type is asked for that xds-protos does not know.
"""

import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

_TYPE_NAME = re.compile(r"(?P<package>(?:envoy|udpa|xds|google)(?:\.[a-z0-9_]+)*)(?:\.[A-Z][A-Za-z0-9_]*)+")


@cache
def message_type(name: str) -> type[Message] | None:
    """The message class of a full type name such as ``envoy.config.cluster.v3.Cluster``, or None if unknown.

    Generated modules register their types when they are imported, so those of the type's package are.
    """
    match = _TYPE_NAME.fullmatch(name)
    if match is None:
        return None
    for module in _generated_modules(match["package"]):
        importlib.import_module(module)
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(descriptor)


def newer_fields(type_name: str) -> frozenset[str]:
    """The field names that envoy-data-plane knows for a type; none when it does not know the type."""
    newer = _newer_type(type_name)
    return frozenset(newer._betterproto.meta_by_field_name) if newer else frozenset()


def encode_newer(type_name: str, fields: dict[str, Any]) -> bytes | None:
    """Proto JSON as bytes of a type that only envoy-data-plane knows in full; None when it does not know it either.

    Raises ValueError when the JSON is not that of the type, with words for its author where there are any.
    """
    newer = _newer_type(type_name)
    if newer is None:
        return None
    try:
        return bytes(newer.from_dict(fields))
    except Exception as error:  # its reader raises whatever its conversions happen to
        words = str(error.args[0]) if isinstance(error, KeyError) else ""
        raise ValueError(words[0].lower() + words[1:] if words.startswith("Unknown field") else "") from error


def decode_newer(type_name: str, body: bytes) -> dict[str, Any] | None:
    """The proto JSON of `body`; None when envoy-data-plane does not know the type."""
    newer = _newer_type(type_name)
    if newer is None:
        return None
    from betterproto2 import Casing

    fields: dict[str, Any] = newer.parse(body).to_dict(casing=Casing.SNAKE)
    return fields


def _newer_type(name: str) -> Any:
    match = _TYPE_NAME.fullmatch(name)
    if match is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # dozens of its own
            importlib.import_module(f"envoy_data_plane.{match['package']}")
            from envoy_data_plane.message_pool import default_message_pool
    except ImportError:
        return None
    return default_message_pool.url_to_type.get(f"type.googleapis.com/{name}")


def _generated_modules(package: str) -> Iterator[str]:
    try:
        path = importlib.import_module(package).__path__
    except (ImportError, AttributeError):
        return
    for module in pkgutil.iter_modules(path):
        if module.name.endswith("_pb2"):
            yield f"{package}.{module.name}"
