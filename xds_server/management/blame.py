"""From an Envoy's rejection to what somebody wrote: which definition, and which field of it, as far as its words tell. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from xds_server.catalog.contents import Contents
from xds_server.catalog.store.records import GATEWAY, UPSTREAM
from xds_server.management.views import written
from xds_server.upstreams.model import Problem
from xds_server.upstreams.model.base import Location

SHORTEST: Final = 4
"""Characters of a value that is looked for in Envoy's words: shorter ones stand there by chance."""
_NOT_ASKED: Final = ("name", "description", "labels")
"""Fields that Envoy never sees, or whose value names the definition and not what is wrong with it."""


class Blame(NamedTuple):
    """What a rejection is about."""

    kind: str
    name: str
    field: str
    """As users write it, for example ``tls.ca_file``; empty where the words do not tell."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {self.field}" if self.field else "")


def blame(type_url: str, culprits: tuple[str, ...], words: str, contents: Contents) -> tuple[Blame, ...]:
    """The definitions that `culprits` (resources that Envoy's `words` name) were made from, each with its field.

    `type_url`: of the rejected response, or its last part.
    """
    kind = GATEWAY if type_url.endswith("Listener") else UPSTREAM
    if type_url.endswith("Secret"):
        return tuple(_with_secrets(words, contents))
    names = dict.fromkeys(culprit.partition("#")[0] for culprit in culprits)  # what follows # is a hash of ours
    return tuple(
        Blame(kind, name, _field(written(record.value), words))
        for name in names
        if (record := contents.records.get((kind, name))) is not None
    )


def _with_secrets(words: str, contents: Contents) -> Iterator[Blame]:
    """Upstreams that name what Envoy's words are about: a secret is not called by the name of an upstream."""
    for record in contents.upstreams():
        if '"tls":' not in record.held.entry.document:
            continue
        upstream = record.read()
        if upstream.tls is not None and (field := _field(written(upstream.tls), words)):
            yield Blame(UPSTREAM, upstream.name, f"tls.{field}")


def _field(data: Any, words: str) -> str:
    """The field with the longest value that stands in `words`."""
    found = [(len(text), location) for location, text in _leaves(data, ()) if _stands_in(text, words)]
    return Problem(max(found, key=lambda each: each[0])[1], "").field if found else ""


def _leaves(data: Any, here: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            if here or key not in _NOT_ASKED:
                yield from _leaves(value, (*here, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, (*here, index))
    elif isinstance(data, str | int) and not isinstance(data, bool):
        yield here, str(data)


def _stands_in(text: str, words: str) -> bool:
    if len(text) < SHORTEST or text not in words:
        return False
    return re.search(rf"(?<![\w./-]){re.escape(text)}(?![\w/-]|\.\w)", words) is not None
