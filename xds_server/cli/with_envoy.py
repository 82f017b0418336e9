"""`validate --with-envoy`: a real Envoy loads what the definitions of files become."""

import asyncio
from typing import Final

from xds_server.cli.errors import fail
from xds_server.delivery.checking import Checked, resolve
from xds_server.delivery.resolving import addresses_of
from xds_server.delivery.trial import Refusal, envoy_version, key_of, refusals
from xds_server.upstreams.documents import FileProblem
from xds_server.upstreams.model import Gateway, Located, Upstream
from xds_server.upstreams.translate import Addresses

TIMEOUT: Final = 120
"""Seconds that Envoy may take to load everything."""

Definition = Located[Upstream] | Located[Gateway]


def check_with_envoy(checked: Checked) -> tuple[str, list[FileProblem]]:
    """Which Envoy it was (``Envoy 1.40.0``), and every definition that it refuses, in its words.

    Raises EnvoyNotFoundError and CommandError.
    """
    upstreams = [placed.value for placed in checked.upstreams.values()]
    resolved = resolve(upstreams)
    addresses = {name: found for upstream in upstreams for name, found in addresses_of(upstream, resolved).items()}
    definitions: list[Definition] = [*checked.upstreams.values(), *checked.gateways.values()]
    version, found = asyncio.run(_load(definitions, addresses))
    by_key = {key_of(placed.value): placed for placed in definitions}
    return f"Envoy {version}".rstrip(), [_placed(each, by_key) for each in found]


async def _load(definitions: list[Definition], addresses: Addresses) -> tuple[str, list[Refusal]]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await envoy_version(), await refusals([placed.value for placed in definitions], addresses)
    except TimeoutError:
        fail(f"Envoy had not loaded the definitions after {TIMEOUT} s: check fewer files at a time")


def _placed(refusal: Refusal, by_key: dict[tuple[str, str], Definition]) -> FileProblem:
    if refusal.key is None:
        first = next(iter(by_key.values()))
        return FileProblem(first.source, first.line, "", f"Envoy refuses these together: {refusal.words}")
    placed = by_key[refusal.key]
    return FileProblem(placed.source, placed.line, " ".join(refusal.key), f"Envoy refuses it: {refusal.words}")
