"""Whole documents, applied as one revision, or only looked at."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from xds_server.catalog.catalog import Catalog, Edit, Outcome
from xds_server.catalog.contents import Contents, Record, Value
from xds_server.catalog.errors import InvalidError, StillNeededError
from xds_server.catalog.overrides import split_name
from xds_server.catalog.planning import Plan, Proposal, Put, put
from xds_server.catalog.store.records import GATEWAY, OVERRIDE, UPSTREAM, Attribution, Key
from xds_server.delivery.preview import Difference
from xds_server.management.bodies import BodyError, Inspect, document
from xds_server.upstreams.model import Gateway, Problem, Upstream


class Planned(NamedTuple):
    """What a document would do."""

    difference: Difference
    objection: str
    """Why the guard would hold it; empty when it would not."""
    before: list[Upstream]
    after: list[Upstream]
    """All upstreams that there would be."""


class Applying:
    """Applies documents."""

    def __init__(self, catalog: Catalog, inspect: Inspect) -> None:
        self._catalog, self._inspect = catalog, inspect

    async def apply(self, data: Any, by: Attribution, *, prune: bool = False) -> Outcome:
        """Add and replace what a document names, all of it or nothing. `prune`: take away what else came through the API.

        Raises a RefusedError or StoreError.
        """
        # Seconds for 10,000 upstreams, in which Envoys must not wait.
        edit = await asyncio.to_thread(self._edit, data, by, prune=prune)
        try:
            return await self._catalog.commit(edit)
        except StillNeededError:
            raise  # by what is not in the document
        except InvalidError as error:
            raise _in_document(error, data) from None

    async def preview(self, data: Any, by: Attribution, *, prune: bool = False) -> Planned:
        """What `apply` would do. Raises as `apply` does."""
        edit = await asyncio.to_thread(self._edit, data, by, prune=prune)
        try:
            _, plan = self._catalog.plan(edit)
        except StillNeededError:
            raise  # by what is not in the document
        except InvalidError as error:
            raise _in_document(error, data) from None
        before = _needed(self._catalog.contents, plan)
        after = {key: value for key, value in before.items() if key not in plan.changes} | dict(plan.values)
        records = self._catalog.contents.upstreams()
        now, then = await asyncio.to_thread(_all_upstreams, records, plan)
        return Planned(Difference(before, after), plan.objection, now, then)

    def _edit(self, data: Any, by: Attribution, *, prune: bool) -> Edit:
        upstreams, gateways = document(data, self._inspect)
        wanted: dict[Key, Put] = {(UPSTREAM, each.name): put(each) for each in upstreams}
        wanted |= {(GATEWAY, each.name): put(each) for each in gateways}

        def edit(contents: Contents) -> Proposal:
            gone = frozenset(_others(contents, wanted)) if prune else frozenset()
            return Proposal(by, wanted, gone)

        return edit


def _all_upstreams(records: Iterable[Record[Upstream]], plan: Plan) -> tuple[list[Upstream], list[Upstream]]:
    """All that there are, and all that there would be, by name."""
    now: dict[str, Value | None] = {(upstream := record.read()).name: upstream for record in records}
    then = now | {name: plan.values.get((kind, name)) for kind, name in plan.changes if kind == UPSTREAM}
    before, after = (
        [value for _, value in sorted(found.items()) if isinstance(value, Upstream)] for found in (now, then)
    )
    return before, after


def _in_document(error: InvalidError, data: Any) -> BodyError:
    """What is wrong with records, said of the document that brings them."""
    places: dict[Key, tuple[str | int, ...]] = {}
    for kind, field in ((UPSTREAM, "upstreams"), (GATEWAY, "gateways")):
        places |= {(kind, each["name"]): (field, index) for index, each in enumerate(data.get(field, ()))}
    return BodyError(
        [
            problem.under(*places[key]) if key in places else Problem((), f"{key[0]} {key[1]}: {problem.message}")
            for key, problems in error.problems.items()
            for problem in problems
        ]
    )


def _others(contents: Contents, wanted: dict[Key, Put]) -> Iterable[Key]:
    """What came through the API and is not in a document, with what lies over it."""
    for kind, name in contents.records:
        about = (UPSTREAM, split_name(name)[0]) if kind == OVERRIDE else (kind, name)
        if about not in wanted and not contents.is_of_a_file(about):
            yield kind, name


def _needed(contents: Contents, plan: Plan) -> dict[Key, Value]:
    """What is in force of the records that change, and of those without which they cannot be understood."""
    keys = set(plan.changes)
    for value in [*plan.values.values(), *(contents.records[key].value for key in keys if key in contents)]:
        if isinstance(value, Gateway) and value.upstream is not None:
            keys.add((UPSTREAM, value.upstream))
    for kind, name in [*keys]:
        if kind != GATEWAY:
            upstream = split_name(name)[0] if kind == OVERRIDE else name
            keys.add((UPSTREAM, upstream))
            keys |= {(OVERRIDE, f"{upstream}/{target}") for target in contents.overrides(upstream)}
    return {key: contents.records[key].value for key in keys if key in contents}
