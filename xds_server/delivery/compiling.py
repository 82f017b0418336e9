"""Many definitions, compiled for one dialect, a few at a time: other work on the event loop goes on meanwhile."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from xds_server.delivery.compiled import Compiled, NotServableError, Secrets, compile_gateway, compile_upstream
from xds_server.delivery.in_force import Key
from xds_server.delivery.kept import Kept
from xds_server.delivery.moments import Input
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.recent import Recent
from xds_server.upstreams.translate import Dialect
from xds_server.xds import ENDPOINTS

SLICE: Final = 25
"""Definitions that are compiled before other work on the event loop gets its turn."""

log = structlog.get_logger("delivery")


class Results(NamedTuple):
    """What definitions became, by key. Those of which the dialect's clients know nothing are in neither."""

    compiled: dict[Key, Compiled]
    problems: dict[Key, str]
    """Why the others cannot be served."""


async def compile_all(
    wanted: Mapping[Key, Input | None],
    dialect: Dialect,
    secrets: Secrets,
    before: Mapping[Key, Compiled],
    recent: Recent[Kept],
) -> Results:
    """Compile `wanted` (None: nothing, the definition goes). `before`: what is served now. `recent`: see `compile_upstream`."""
    results = Results({}, {})
    for count, (key, given) in enumerate(wanted.items(), 1):
        try:
            if given is not None and (made := _compile(given, dialect, secrets, before.get(key), recent)) is not None:
                results.compiled[key] = made
        except NotServableError as error:
            results.problems[key] = str(error)
        except Exception as error:
            # A mistake of ours with one definition must not take the others down with it.
            at = str(given.definition) if given else ""
            log.debug("definition.failed", at=at, name=key[1], dialect=dialect.value, exc_info=True)
            results.problems[key] = f"an error of xds-server itself, please report it: {error!r}"
        if count % SLICE == 0:
            await asyncio.sleep(0)
    return results


def _compile(
    given: Input, dialect: Dialect, secrets: Secrets, before: Compiled | None, recent: Recent[Kept]
) -> Compiled | None:
    if isinstance(given.value, Upstream):
        served = before is not None and any(resource.type_url == ENDPOINTS for resource in before.resources)
        return compile_upstream(given.value, given.addresses, dialect, served=served, secrets=secrets, recent=recent)
    return compile_gateway(given.value, dialect) if dialect.is_envoys else None
