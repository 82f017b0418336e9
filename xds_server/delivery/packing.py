"""What a definition became, as bytes that are quick to read: for the next start of the control plane. Pure.

Only what follows from the definition alone: see `is_lasting`. The bytes are read by the very program that wrote them, or not at
all (`catalog.readymade`).
"""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

from xds_server.delivery.compiled import Compiled
from xds_server.delivery.compiling import Made
from xds_server.delivery.in_force import Definition
from xds_server.delivery.moments import NOTHING, Ahead
from xds_server.delivery.needs import Needs
from xds_server.delivery.overlap import History, Said
from xds_server.upstreams.lint import Lint
from xds_server.upstreams.translate import Dialect
from xds_server.xds import Reference, Resource

LENGTH: Final = 4
"""Bytes of the length of what comes first: all but the encoded messages, as JSON."""


def is_lasting(made: Made, needs: Needs) -> bool:
    """Whether the definition alone decides what it became for aggregated streams: no time, no names, no secrets."""
    return made.definition is not None and made.problem is None and made.ahead.is_lasting and not needs


def packed(made: Made) -> bytes:
    """What a definition became for aggregated streams."""
    compiled = made.compiled[Dialect.ADS]
    host = compiled.virtual_host
    head = json.dumps(
        {
            "resources": [[r.type_url, r.name, r.version, len(r.body), r.references] for r in compiled.resources],
            "has_host": host is not None,
            "warnings": compiled.warnings,
            "nearest_first": compiled.nearest_first,
            "may_overlap": made.ahead.history is not None,
            "lints": made.lints,
        },
        separators=(",", ":"),
    ).encode()
    bodies = (resource.body for resource in compiled.resources)
    return b"".join((len(head).to_bytes(LENGTH, "big"), head, *bodies, host or b""))


def unpacked(definition: Definition, data: bytes) -> Made | None:
    """What `packed` packed; None where it cannot be read."""
    try:
        start = LENGTH + int.from_bytes(data[:LENGTH], "big")
        head: dict[str, Any] = json.loads(data[LENGTH:start])
        resources = tuple(_resources(head["resources"], data, start))
        rest = data[start + sum(each[3] for each in head["resources"]) :]
        compiled = Compiled(
            resources, rest if head["has_host"] else None, tuple(head["warnings"]), head["nearest_first"]
        )
        lints = tuple(Lint(name, tuple(location), *words) for name, location, *words in head["lints"])
    except (ValueError, LookupError, TypeError):
        return None
    # Nothing is served of it yet, and what comes next is compared with what it says.
    ahead = Ahead(History(cast(Said, definition), {})) if head["may_overlap"] else NOTHING
    return Made(definition, {Dialect.ADS: compiled}, {}, ahead, lints)


def _resources(heads: Any, data: bytes, start: int) -> Iterator[Resource]:
    for type_url, name, version, length, references in heads:
        body = data[start : start + length]
        start += length
        yield Resource(sys.intern(type_url), name, version, body, tuple(Reference(*each) for each in references))
