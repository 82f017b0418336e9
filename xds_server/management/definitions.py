"""Upstreams and gateways one by one: read, put, patched and deleted."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from xds_server.catalog.catalog import Catalog, Edit, Outcome
from xds_server.catalog.contents import MODELS, AnyRecord, Contents
from xds_server.catalog.errors import NotOwnedError, UnknownRecordError
from xds_server.catalog.overrides import override_name
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.records import OVERRIDE, UPSTREAM, Attribution, Key
from xds_server.management import views
from xds_server.management.bodies import Inspect, definition, merged
from xds_server.upstreams.model import Gateway, Upstream


class Page(NamedTuple):
    """Some of many."""

    names: list[str]
    next: str | None
    """The name to go on after; None when these were the last."""


class Definitions:
    """Definitions of one kind."""

    def __init__(self, catalog: Catalog, kind: str, inspect: Inspect) -> None:
        self._catalog, self._kind, self._inspect = catalog, kind, inspect

    def get(self, name: str) -> AnyRecord:
        """A definition in force. Raises UnknownRecordError."""
        return record(self._catalog.contents, self._kind, name)

    def page(self, *, labels: Mapping[str, str], after: str, most: int, prefix: str = "") -> Page:
        """Names from `after` on, `most` at a time, that begin with `prefix`; of upstreams only those with all `labels`."""
        contents = self._catalog.contents
        names = views.upstreams_with(contents, labels) if self._kind == UPSTREAM else contents.names(self._kind)
        left = [name for name in names if name > after and name.startswith(prefix)]
        return Page(left[:most], left[most - 1] if len(left) > most else None)

    async def put(self, name: str, data: Any, by: Attribution, expected: int | None = None) -> Outcome:
        """Define `name` as `data` says, whatever was there. `expected`: revision that made what the caller saw; 0: nothing.

        Raises a RefusedError or StoreError.
        """
        wanted = self._put(name, data)
        return await self._catalog.commit(self._edit(name, lambda _: wanted, by, expected))

    async def patch(self, name: str, patch: Any, by: Attribution, expected: int | None = None) -> Outcome:
        """Lay a JSON merge patch over a definition. Raises as `put` does, and UnknownRecordError."""

        def wanted(contents: Contents) -> Put:
            return self._put(name, merged(views.written(record(contents, self._kind, name).value), patch))

        return await self._catalog.commit(self._edit(name, wanted, by, expected))

    async def delete(self, name: str, by: Attribution, expected: int | None = None) -> Outcome:
        """Take a definition away, with what operators laid over it. Raises as `put` does, and UnknownRecordError."""

        def edit(contents: Contents) -> Proposal:
            record(contents, self._kind, name)
            over = contents.overrides(name) if self._kind == UPSTREAM else {}
            gone = {(self._kind, name), *((OVERRIDE, override_name(name, target)) for target in over)}
            return Proposal(by, remove=frozenset(gone), expected=self._expected(name, expected))

        return await self._catalog.commit(edit)

    def _put(self, name: str, data: Any) -> Put:
        model = MODELS[self._kind]
        value = definition(data, model, self._inspect, name=name)
        assert isinstance(value, Upstream | Gateway)
        return put(value)

    def _edit(self, name: str, wanted: Callable[[Contents], Put], by: Attribution, expected: int | None) -> Edit:
        def edit(contents: Contents) -> Proposal:
            # Whose it is is said before what is wrong with it.
            if contents.is_of_a_file((self._kind, name)):
                raise NotOwnedError((self._kind, name), contents.records[self._kind, name].owner)
            return Proposal(by, {(self._kind, name): wanted(contents)}, expected=self._expected(name, expected))

        return edit

    def _expected(self, name: str, expected: int | None) -> dict[Key, int]:
        return {(self._kind, name): expected} if expected is not None else {}


def record(contents: Contents, kind: str, name: str) -> AnyRecord:
    """A definition in force. Raises UnknownRecordError."""
    found = contents.records.get((kind, name))
    if found is None:
        raise UnknownRecordError(kind, name)
    return found
