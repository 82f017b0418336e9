"""What becomes of definitions: what their changes did, and what is served otherwise than written. Told in the log once."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from xds_server.delivery.compiled import Compiled
from xds_server.delivery.effects import Effects
from xds_server.delivery.in_force import Definition, Key
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
