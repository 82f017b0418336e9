"""What becomes of definitions: what their changes did, and what is served otherwise than written. Told in the log once."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from xds_server.delivery.compiled import Compiled
from xds_server.delivery.compiling import Made
from xds_server.delivery.effects import Effects
from xds_server.delivery.in_force import Definition, Key
from xds_server.upstreams.lint import Lint
from xds_server.upstreams.translate import Dialect

LINES: Final = 20
"""Definitions of one change that have a line of their own."""

log = structlog.get_logger("delivery")


def tell_applied(applied: Mapping[Key, Effects]) -> None:
    """Say what a change did to each definition in it; those beyond the first are counted."""
    ordered = sorted(applied.items())
    for (kind, name), did in ordered[:LINES]:
        log.info("definition.applied", kind=kind, name=name, effect=str(did), drops=", ".join(did.drops))
    if rest := Counter(str(did) for _, did in ordered[LINES:]):
        counted = "; ".join(f"{count} {effect}" for effect, count in sorted(rest.items()))
        log.info("definition.applied", more=rest.total(), effects=counted)


class _Told(NamedTuple):
    problem: str | None
    """Why it is left out; None where it is served with warnings."""
    warnings: tuple[str, ...]


class Reports:
    """Tells of definitions that the clients of a dialect do not receive, or not as written."""

    def __init__(self) -> None:
        self._told: dict[tuple[Dialect, Key], _Told] = {}
        self._linted: dict[Key, tuple[Lint, ...]] = {}

    def tell_lints(self, made: Mapping[Key, Made]) -> None:
        """Say what will surprise in changed definitions, unless it was said of them before; what needs to see all of them
        is for `validate`."""
        found: list[tuple[Definition, Lint]] = []
        for key, one in made.items():
            told = {lint.code for lint in self._linted.pop(key, ())}
            if one.lints:
                self._linted[key] = one.lints
            found += [(one.definition, lint) for lint in one.lints if one.definition and lint.code not in told]
        for at, each in found[:LINES]:
            about = {"at": str(at), "name": each.upstream, "field": each.field, "code": each.code}
            log.warning("definition.lint", **about, problem=each.message, fix=each.fix)
        if len(found) > LINES:
            log.warning("definition.lint", problem=f"{len(found) - LINES} more; see them all with: xds-server validate")

    def lints(self, key: Key) -> tuple[Lint, ...]:
        """What will surprise in a definition in force."""
        return self._linted.get(key, ())

    def tell(
        self, dialect: Dialect, key: Key, definition: Definition | None, compiled: Compiled | None, problem: str | None
    ) -> None:
        """Say how `definition` fares in `dialect` now, unless just that was said of it before."""
        warnings = compiled.warnings if compiled is not None else ()
        if definition is None or not (problem or warnings):
            self._told.pop((dialect, key), None)
            return
        new = _Told(problem, warnings)
        if self._told.get((dialect, key)) == new:
            return
        self._told[dialect, key] = new
        about = {"at": str(definition), "name": key[1], "dialect": dialect.value}
        if problem:
            log.warning("definition.not_served", **about, problem=problem)
        else:
            log.warning("definition.altered", **about, warnings=warnings)
