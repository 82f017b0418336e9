"""Many definitions, compiled for the dialects in use, a few at a time: other work on the event loop goes on meanwhile.

Of each, no more is left than what it became: its model is gone when the next one has its turn.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from xds_server.catalog.kept import Overridden, Record
from xds_server.delivery.compiled import Compiled, NotServableError, Secrets, compile_gateway, compile_upstream
from xds_server.delivery.in_force import Definition, Key
from xds_server.delivery.kept import Kept
from xds_server.delivery.moments import NOTHING, Ahead, Input
from xds_server.delivery.needs import Needs, needs_of
from xds_server.upstreams.lint import Lint, lint_one
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.recent import Recent
from xds_server.upstreams.translate import Dialect
from xds_server.xds import ENDPOINTS

SLICE: Final = 25
"""Definitions that are compiled before other work on the event loop gets its turn."""
BATCH: Final = 100
BATCH_TARGETS: Final = 1_000
"""Definitions that are read one after another, and then compiled. Each read and compiled in turn, they cost half as much again:
it is for the processor's caches."""

log = structlog.get_logger("delivery")

Known = Mapping[Dialect, Mapping[Key, Compiled]]
"""What is served now. Everything is compiled for its dialects."""


async def needs_of_all(definitions: Mapping[Key, Definition]) -> dict[Key, Needs]:
    """What definitions need, by key; nothing of those that need nothing."""
    found: dict[Key, Needs] = {}
    for count, (key, definition) in enumerate(definitions.items(), 1):
        if not (isinstance(definition, Record | Overridden) and definition.facts.is_sufficient):
            found[key] = needs_of(definition.value)
        if count % SLICE == 0:
            await asyncio.sleep(0)
    return found


class Made(NamedTuple):
    """What a definition became; nothing, where it goes."""

    definition: Definition | None
    compiled: Mapping[Dialect, Compiled] = {}
    problems: Mapping[Dialect, str] = {}
    """Why it cannot be served. Of a dialect whose clients know nothing of it, there is neither."""
    ahead: Ahead = NOTHING
    lints: tuple[Lint, ...] = ()
    """What will surprise in it, where that was asked for."""

    @property
    def problem(self) -> str | None:
        """Why nobody can be served it."""
        return self.problems.get(Dialect.ADS)


class Compiler(NamedTuple):
    """Compiles definitions for dialects."""

    dialects: tuple[Dialect, ...]
    at: Callable[[Key, Definition], Input]
    """What to serve of each."""
    secrets: Secrets
    before: Known
    recent: Recent[Kept]
    """See `compile_upstream`."""
    with_lints: bool = False

    async def all(
        self, wanted: Mapping[Key, Definition | None], ready: Mapping[Key, Made] | None = None
    ) -> dict[Key, Made]:
        """Compile `wanted` (None: the definition goes). `ready`: what some became for aggregated streams in an earlier run."""
        is_enough = self.dialects == (Dialect.ADS,)
        known = ready if ready is not None and is_enough else {}
        results: dict[Key, Made] = {}
        for batch in _batches(wanted):
            _held = [_read(definition) for key, definition in batch if key not in known]
            for count, (key, definition) in enumerate(batch, 1):
                made = known.get(key) or (self._made(key, definition) if definition is not None else Made(None))
                results[key] = made
                if count % SLICE == 0 or count == len(batch):
                    await asyncio.sleep(0)
        return results

    def _made(self, key: Key, definition: Definition) -> Made:
        compiled: dict[Dialect, Compiled] = {}
        problems: dict[Dialect, str] = {}
        ahead = NOTHING
        lints: tuple[Lint, ...] = ()
        given: Input | None = None
        for dialect in self.dialects:
            try:
                if given is None:
                    given = self.at(key, definition)
                    ahead = given.ahead
                made = _compile(given, dialect, self.secrets, self.before.get(dialect, {}).get(key), self.recent)
                if made is not None:
                    compiled[dialect] = made
            except NotServableError as error:
                problems[dialect] = str(error)
            except Exception as error:
                # A mistake of ours with one definition must not take the others down with it.
                log.debug("definition.failed", at=str(definition), name=key[1], dialect=dialect.value, exc_info=True)
                problems[dialect] = f"an error of xds-server itself, please report it: {error!r}"
            if Dialect.ADS in problems:
                break  # it is refused for all
        if self.with_lints and isinstance(upstream := definition.value, Upstream):
            lints = tuple(lint_one(upstream))
        return Made(definition, compiled, problems, ahead, lints)


def _batches(wanted: Mapping[Key, Definition | None]) -> Iterator[list[tuple[Key, Definition | None]]]:
    """Some at a time, that are quick to read."""
    batch: list[tuple[Key, Definition | None]] = []
    targets = 0
    for key, definition in wanted.items():
        batch.append((key, definition))
        targets += definition.facts.targets if isinstance(definition, Record | Overridden) else 0
        if len(batch) == BATCH or targets >= BATCH_TARGETS:
            yield batch
            batch, targets = [], 0
    if batch:
        yield batch


def _read(definition: Definition | None) -> Upstream | Gateway | None:
    """Its model, which is there for as long as that is held. What is wrong with it shows when it is compiled."""
    with suppress(Exception):
        return definition.value if definition is not None else None
    return None


def _compile(
    given: Input, dialect: Dialect, secrets: Secrets, before: Compiled | None, recent: Recent[Kept]
) -> Compiled | None:
    if isinstance(given.value, Upstream):
        served = before is not None and any(resource.type_url == ENDPOINTS for resource in before.resources)
        return compile_upstream(given.value, given.addresses, dialect, served=served, secrets=secrets, recent=recent)
    return compile_gateway(given.value, dialect) if dialect.is_envoys else None
