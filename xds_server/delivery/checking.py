"""Definition files, checked as a running server would check them, and what they become: for `validate` and `translate`."""

import asyncio
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from xds_server.delivery.compiled import NotServableError, Secrets, compile_gateway, compile_upstream
from xds_server.delivery.resolving import Resolved, addresses_of, questions
from xds_server.pem_files import PemError
from xds_server.resolvers import Answer, Lookup, Question
from xds_server.resolvers.dns import Resolver
from xds_server.secrets.files import Kind, read
from xds_server.upstreams import documents, translate
from xds_server.upstreams.deadlines import as_of
from xds_server.upstreams.documents import DefinitionFile, FileProblem
from xds_server.upstreams.lint import Lint, lint
from xds_server.upstreams.lint_names import lint_names
from xds_server.upstreams.model import Gateway, Located, Problem, Upstream


@dataclass
class Checked:
    """What was read, by name, and everything that is wrong with it."""

    upstreams: dict[str, Located[Upstream]] = field(default_factory=dict)
    gateways: dict[str, Located[Gateway]] = field(default_factory=dict)
    problems: list[FileProblem] = field(default_factory=list)
    files: list[DefinitionFile] = field(default_factory=list)
    """The sound ones."""

    @property
    def secrets(self) -> set[str]:
        """Names of the secrets that the control plane must keep."""
        return {name for placed in self.upstreams.values() for _, name in translate.held_secrets(placed.value)}


class SecretsNow:
    """The secrets of a directory as they are now."""

    held: Final[translate.HeldSecrets] = {}

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def problem(self, key: tuple[Kind, str]) -> str:
        try:
            read(self._directory, *key)
        except PemError as error:
            return f"secret {key[1]!r}: {error}"
        return ""


def check_files(paths: Iterable[Path], secrets: Path | None = None, elsewhere: Container[str] = ()) -> Checked:
    """Read all definition files under `paths`, and find every problem that would keep one from being served.

    `secrets`: directory of the secrets that they name; None where it is not known, and then these are not looked for.
    `elsewhere`: upstreams that are defined through the API.
    """
    known = SecretsNow(secrets) if secrets is not None else None
    files, problems = documents.load(paths, partial(not_servable, known), elsewhere)
    checked = Checked(problems=problems, files=files)
    for file in files:
        checked.upstreams.update((placed.value.name, placed) for placed in file.upstreams)
        checked.gateways.update((placed.value.name, placed) for placed in file.gateways)
    return checked


def warnings(checked: Checked, *, envoys: int = 1, lookup: Lookup | None = None) -> list[FileProblem]:
    """What is legal in definitions and will surprise, file by file.

    `envoys`: how many receive them. `lookup`: resolves host names, for what only their answers show; None: not looked at.
    """
    places = {
        placed.value.name: (file.path, index) for file in checked.files for index, placed in enumerate(file.upstreams)
    }
    found: dict[str, list[Problem]] = {}
    upstreams = [placed.value for placed in checked.upstreams.values()]
    for each in [*lint(upstreams, envoys=envoys), *(_lint_names(upstreams, lookup) if lookup else ())]:
        path, index = places[each.upstream]
        found.setdefault(path, []).append(Problem(("upstreams", index, *each.location), f"warning: {each}"))
    return [placed for path, problems in found.items() for placed in documents.locate(path, problems)]


def not_servable(secrets: Secrets | None, definition: Upstream | Gateway) -> list[Problem]:
    """Why Envoy would refuse a definition. `secrets`: None where they are not known, and then are not looked for."""
    try:
        if isinstance(definition, Upstream):
            compile_upstream(definition, {}, secrets=secrets)
        else:
            compile_gateway(definition)
    except NotServableError as error:
        return error.problems
    return []


def messages_of(
    checked: Checked, *, name: str | None = None, kind: str | None = None, place: translate.Place = translate.NOWHERE
) -> list[Any]:
    """The Envoy messages of sound definitions, in the order in which Envoy takes them.

    `name`: of one upstream or gateway only. `kind`: only ``cluster``, ``endpoints``, ``listener`` or ``route``. Host names
    are resolved now, as the control plane would, and drains whose deadline has passed are over. What a server keeps beside
    them for a moment, targets that were just replaced, is no part of a definition. `place`: of the Envoy whose nearest
    targets come first.
    """
    now = datetime.now(UTC)
    upstreams = [as_of(placed.value, now) for key, placed in sorted(checked.upstreams.items()) if name in (None, key)]
    gateways = [placed.value for key, placed in sorted(checked.gateways.items()) if name in (None, key)]
    resolved = resolve(upstreams)
    by_kind: dict[str, list[Any]] = {
        "cluster": [translate.cluster(upstream) for upstream in upstreams],
        "endpoints": [made for upstream in upstreams if (made := _endpoints(upstream, resolved, place)) is not None],
        "listener": [translate.listener(gateway) for gateway in gateways],
        "route": list(_routes(upstreams)),
    }
    return [message for key, messages in by_kind.items() if kind in (None, key) for message in messages]


def _endpoints(upstream: Upstream, resolved: Resolved, place: translate.Place) -> Any:
    made = translate.endpoints(upstream, addresses_of(upstream, resolved))
    return translate.nearest_first(made, place) if upstream.is_nearest_first else made


def _lint_names(upstreams: Iterable[Upstream], lookup: Lookup) -> Iterator[Lint]:
    answers = _answers(upstreams, lookup)
    for upstream in upstreams:
        asked = questions(upstream)
        yield from lint_names(upstream, {key: answers[asked[key]] for key in asked if asked[key] in answers})


def resolve(upstreams: Iterable[Upstream]) -> Resolved:
    """What the targets' host names resolve to now; names that cannot be resolved are left out."""
    return {question: answer.found for question, answer in _answers(upstreams).items()}


def _answers(upstreams: Iterable[Upstream], lookup: Lookup | None = None) -> dict[Question, Answer]:
    asked = {question for upstream in upstreams for question in questions(upstream).values()}
    return asyncio.run(_look_up(asked, lookup)) if asked else {}


async def _look_up(asked: set[Question], lookup: Lookup | None) -> dict[Question, Answer]:
    async def ignore(_: frozenset[Question]) -> None:
        """Nothing changes after the one look-up."""

    resolver = Resolver(ignore, lookup)
    await resolver.add(asked)
    return resolver.answers()


def _routes(upstreams: Iterable[Upstream]) -> Iterator[Any]:
    hosts = [host for upstream in upstreams if (host := translate.virtual_host(upstream)) is not None]
    if hosts:
        yield translate.route_configuration(hosts)
