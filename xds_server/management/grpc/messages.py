"""From what the management shows to messages, and from messages to what it takes.

Definitions travel as JSON text: a `google.protobuf.Struct` has no whole numbers, and messages for each of their fields would
be a second home of the format.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.contents import AnyRecord, Contents
from xds_server.catalog.overrides import TargetOverride
from xds_server.catalog.store.records import Key, dumped
from xds_server.management import views
from xds_server.management.grpc.calls import wrong
from xds_server.management.service import Management
from xds_server.management.v1 import definitions_pb2, results_pb2, targets_pb2

M = TypeVar("M", bound=Message)
PAGE_BYTES: Final = 2 * 1024 * 1024
"""After so many a page ends: clients take answers of 4 MiB."""
_OVER: Final = tuple(TargetOverride.model_fields)


def filled(kind: type[M], data: Any) -> M:
    """A message with the fields of plain data that it has; the others are for HTTP."""
    return ParseDict(data, kind(), ignore_unknown_fields=True)


def result(management: Management, made: Outcome, *keys: Key) -> results_pb2.WriteResult:
    """What became of a write. `keys`: the definition that was written, and what lies over a target."""
    records = management.catalog.contents.records
    revisions = [made.revision_of(key, records[key].held.revision if key in records else 0) for key in keys]
    now = dict(zip(("definition_revision", "override_revision"), revisions, strict=False))
    return filled(results_pb2.WriteResult, {**management.outcome(made), **now})


def page(found: Iterable[M]) -> list[M]:
    """The first of some messages, as many as go into one answer; one at least."""
    taken: list[M] = []
    size = 0
    for each in found:
        size += each.ByteSize()
        if taken and size > PAGE_BYTES:
            break
        taken.append(each)
    return taken


def definition(contents: Contents, record: AnyRecord, name: str) -> definitions_pb2.Definition:
    """A definition, and what is known of it."""
    text = record.held.entry.document
    return filled(definitions_pb2.Definition, {"name": name, "json": text, **views.about(contents, record, name)})


def target(upstream: str, shown: dict[str, Any], revisions: dict[Key, int]) -> targets_pb2.Target:
    """A target as `views.target` shows it. `revisions`: see `Targets.expected`."""
    said = {name: value for name, value in shown.items() if name not in ("target", "override")}
    of_definition, of_override = revisions.values()
    known = {"upstream": upstream, "definition_revision": of_definition, "override_revision": of_override}
    return filled(targets_pb2.Target, {**shown, "json": dumped(said), **known})


def patch_of(message: targets_pb2.TargetPatch) -> dict[str, Any]:
    """The merge patch that a message stands for. Raises BodyError."""
    said = {field.name: value for field, value in message.ListFields() if field.name != "clear"}
    for name in message.clear:
        if name not in _OVER:
            raise wrong("clear", f"{name[:100]!r} cannot be taken away: {', '.join(_OVER)} can")
        if name in said:
            raise wrong("clear", f"{name} cannot be set and taken away at once")
    return said | dict.fromkeys(message.clear)
