"""Targets one by one. What operators say of one (its state, its weight) lies over the definition, as a record of its own."""

from typing import Any, Final

from xds_server.catalog.batching import Batches
from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.contents import Contents, Value
from xds_server.catalog.errors import NotOwnedError, UnknownRecordError
from xds_server.catalog.overrides import TargetOverride, overridden, override_name
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.records import OVERRIDE, UPSTREAM, Attribution, Key
from xds_server.management import views
from xds_server.management.bodies import BodyError, Inspect, definition, merged
from xds_server.management.definitions import record
from xds_server.upstreams.model import Problem, Target, Upstream

NAMES: Final = 10
"""Targets that a message names."""


class Targets:
    """The targets of all upstreams."""

    def __init__(self, catalog: Catalog, inspect: Inspect) -> None:
        self._catalog, self._inspect = catalog, inspect
        self._batches = Batches(catalog)

    def all(self, upstream: str) -> list[dict[str, Any]]:
        """The targets of an upstream as they are served. Raises UnknownRecordError."""
        return views.targets(self._catalog.contents, _upstream(self._catalog.contents, upstream))

    def get(self, upstream: str, key: str) -> dict[str, Any]:
        """One target as it is served. Raises UnknownRecordError."""
        contents = self._catalog.contents
        whole = _upstream(contents, upstream)
        _target(whole, key)
        overrides = contents.overrides(upstream)
        served = next(each for each in overridden(whole, overrides).targets if each.key == key)
        return views.target(served, overrides.get(key))

    def expected(self, upstream: str, key: str) -> dict[Key, int]:
        """Which revisions made a target what it is: of its definition, and of what lies over it (0: nothing does)."""
        records = self._catalog.contents.records
        keys: tuple[Key, ...] = ((UPSTREAM, upstream), (OVERRIDE, override_name(upstream, key)))
        return {each: records[each].held.revision if each in records else 0 for each in keys}

    async def patch(
        self, upstream: str, key: str, patch: Any, by: Attribution, expected: dict[Key, int] | None = None
    ) -> Outcome:
        """Lay `state`, `weight`, `drain_until` and `expires` over a target; null takes one away. Many at a time share a
        revision. Raises a RefusedError or StoreError."""

        def step(contents: Contents, before: Value | None) -> Put | None:
            target = _target(_upstream(contents, upstream), key)
            said = views.written(before) if before is not None else {}
            wanted = _without_effect(_override(merged(said, patch), target), target)
            return put(wanted) if wanted.says_anything else None

        return await self._batches.commit((OVERRIDE, override_name(upstream, key)), by, step, expected)

    async def put(
        self, upstream: str, key: str, data: Any, by: Attribution, expected: dict[Key, int] | None = None
    ) -> Outcome:
        """Define a target: the one that is there is replaced, else it is added. Raises as `patch` does, and
        NotOwnedError for an upstream that a file defines."""

        def changed(targets: list[Any]) -> list[Any]:
            said = definition(_with_place(data, key), Target)
            if said.key != key:
                raise BodyError([Problem((), f"the address says {key}, the body {said.key}")])
            here = [index for index, each in enumerate(targets) if _key(each) == key]
            at = here[0] if here else len(targets)
            return [*targets[:at], views.written(said), *targets[at + 1 :]]

        return await self._change(upstream, changed, by, expected)

    async def delete(self, upstream: str, key: str, by: Attribution, expected: dict[Key, int] | None = None) -> Outcome:
        """Take a target out of its definition, with what lies over it. Raises as `put` does."""

        def changed(targets: list[Any]) -> list[Any]:
            return [each for each in targets if _key(each) != key]

        _target(_upstream(self._catalog.contents, upstream), key)
        return await self._change(upstream, changed, by, expected, override_name(upstream, key))

    async def _change(
        self, upstream: str, changed: Any, by: Attribution, expected: dict[Key, int] | None, gone: str = ""
    ) -> Outcome:
        def edit(contents: Contents) -> Proposal:
            there = _upstream(contents, upstream)
            if contents.is_of_a_file((UPSTREAM, upstream)):
                raise NotOwnedError((UPSTREAM, upstream), contents.records[UPSTREAM, upstream].owner)
            data = views.written(there)
            data["targets"] = changed(data.get("targets", []))
            wanted = put(definition(data, Upstream, self._inspect))
            remove = frozenset({(OVERRIDE, gone)}) if (OVERRIDE, gone) in contents else frozenset()
            return Proposal(by, {(UPSTREAM, upstream): wanted}, remove, expected or {})

        return await self._catalog.commit(edit)


def _upstream(contents: Contents, name: str) -> Upstream:
    value = record(contents, UPSTREAM, name).value
    assert isinstance(value, Upstream)
    return value


def _target(upstream: Upstream, key: str) -> Target:
    found = next((each for each in upstream.targets if each.key == key), None)
    if found is None:
        there = ", ".join(each.key for each in upstream.targets[:NAMES]) or "none"
        raise UnknownRecordError("target", key, f" in upstream {upstream.name!r}; there are: {there}")
    return found


def _override(data: Any, target: Target) -> TargetOverride:
    if isinstance(data, dict) and (other := [name for name in data if name in Target.model_fields.keys() - _OVER]):
        why = "only state, weight, drain_until and expires lie over a definition: write the rest there (PUT)"
        raise BodyError([Problem((name,), why) for name in other])
    return definition(data, TargetOverride)


_OVER: Final = TargetOverride.model_fields.keys()


def _without_effect(override: TargetOverride, target: Target) -> TargetOverride:
    """Without what the definition says already, so that `enable` of an enabled target leaves nothing behind."""
    said = {name: getattr(override, name) for name in override.model_fields_set}
    if (override.state, override.drain_until) == (target.state, target.drain_until):
        said.pop("state", None)
        said.pop("drain_until", None)
    if override.weight == target.weight:
        said.pop("weight", None)
    return TargetOverride(**{name: value for name, value in said.items() if value is not None})


def _with_place(data: Any, key: str) -> Any:
    """The host and the port may be left out of the body, as the address has them."""
    host, _, port = key.rpartition(":")
    if not isinstance(data, dict) or not host:
        return data
    place = {"host": host.strip("[]"), "port": int(port) if port.isdecimal() else port}
    return {**place, **data}


def _key(data: Any) -> str:
    return Target.model_validate(data).key
