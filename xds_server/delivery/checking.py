"""Definition files, checked as a running server would check them, and what they become: for `validate` and `translate`."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from xds_server.delivery.compiled import NotServableError, Secrets, compile_gateway, compile_upstream
from xds_server.resolvers.dns import Resolver
from xds_server.secrets.files import Kind, SecretError, read
from xds_server.upstreams import documents, translate
from xds_server.upstreams.documents import FileProblem
from xds_server.upstreams.model import Gateway, Placed, Problem, Upstream


@dataclass
class Checked:
    """What was read, by name, and everything that is wrong with it."""

    upstreams: dict[str, Placed[Upstream]] = field(default_factory=dict)
    gateways: dict[str, Placed[Gateway]] = field(default_factory=dict)
    problems: list[FileProblem] = field(default_factory=list)

    @property
    def secrets(self) -> set[str]:
        """Names of the secrets that the control plane must keep."""
        return {name for placed in self.upstreams.values() for _, name in translate.held_secrets(placed.value)}


class _SecretsNow:
    """The secrets of a directory as they are now."""

    held: Final[translate.HeldSecrets] = {}

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def problem(self, key: tuple[Kind, str]) -> str:
        try:
            read(self._directory, *key)
        except SecretError as error:
            return f"secret {key[1]!r}: {error}"
        return ""


def check_files(paths: Iterable[Path], secrets: Path | None = None) -> Checked:
    """Read all definition files under `paths`, and find every problem that would keep one from being served.

    `secrets`: directory of the secrets that they name; None where it is not known, and then these are not looked for.
    """
    known = _SecretsNow(secrets) if secrets is not None else None
    files, problems = documents.load(paths, partial(_not_servable, known))
    checked = Checked(problems=problems)
    for file in files:
        checked.upstreams.update((placed.value.name, placed) for placed in file.upstreams)
        checked.gateways.update((placed.value.name, placed) for placed in file.gateways)
    return checked


def _not_servable(secrets: Secrets | None, definition: Upstream | Gateway) -> list[Problem]:
    try:
        if isinstance(definition, Upstream):
            compile_upstream(definition, {}, secrets=secrets)
        else:
            compile_gateway(definition)
    except NotServableError as error:
        return error.problems
    return []


def messages_of(checked: Checked, *, name: str | None = None, kind: str | None = None) -> list[Any]:
    """The Envoy messages of sound definitions, in the order in which Envoy takes them.

    `name`: of one upstream or gateway only. `kind`: only ``cluster``, ``endpoints``, ``listener`` or ``route``. Host names
    are resolved now, as the control plane would.
    """
    upstreams = [placed.value for key, placed in sorted(checked.upstreams.items()) if name in (None, key)]
    gateways = [placed.value for key, placed in sorted(checked.gateways.items()) if name in (None, key)]
    addresses = resolve(upstreams)
    by_kind: dict[str, list[Any]] = {
        "cluster": [translate.cluster(upstream) for upstream in upstreams],
        "endpoints": [made for upstream in upstreams if (made := translate.endpoints(upstream, addresses)) is not None],
        "listener": [translate.listener(gateway) for gateway in gateways],
        "route": list(_routes(upstreams)),
    }
    return [message for key, messages in by_kind.items() if kind in (None, key) for message in messages]


def resolve(upstreams: Iterable[Upstream]) -> translate.Addresses:
    """The addresses that the targets' host names have now; names that cannot be resolved are left out."""
    names = {
        target.host
        for upstream in upstreams
        if upstream.resolve == "control-plane"
        for target in upstream.targets
        if target.needs_resolving
    }
    return asyncio.run(_look_up(names)) if names else {}


async def _look_up(names: set[str]) -> translate.Addresses:
    async def ignore(_: frozenset[str]) -> None:
        """Nothing changes after the one look-up."""

    resolver = Resolver(ignore)
    await resolver.add(names)
    return dict(resolver.addresses)


def _routes(upstreams: Iterable[Upstream]) -> Iterator[Any]:
    hosts = [host for upstream in upstreams if (host := translate.virtual_host(upstream)) is not None]
    if hosts:
        yield translate.route_configuration(hosts)
