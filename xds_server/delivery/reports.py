"""What becomes of definitions otherwise than written: told in the log once, however often they are compiled."""

from typing import NamedTuple

import structlog

from xds_server.delivery.compiled import Compiled
from xds_server.delivery.in_force import Definition, Key
from xds_server.upstreams.translate import Dialect

log = structlog.get_logger("delivery")


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
