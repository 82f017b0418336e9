"""From the plain data of a definition file to its definitions, each with its line, or to all of its problems."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from xds_server.upstreams.checking import MAX_PROBLEMS, Checked, check, existing, rests_on
from xds_server.upstreams.model import Document, Gateway, Located, Placed, Problem, Upstream, clashes, problems_of
from xds_server.upstreams.model.base import NOTHING, Location
from xds_server.upstreams.tree import Tree

_CLASHING = {"port", "address", "nodes", "protocol"}
"""Fields by which definitions of different names clash: where one of them is in doubt, the clash may be none."""

D = TypeVar("D", Upstream, Gateway)

Inspect = Callable[[Upstream | Gateway], Sequence[Problem]]
"""What is wrong with a definition beyond its format; locations begin in the definition, and () is all of it."""


class FileProblem(NamedTuple):
    """One mistake in a definition file."""

    path: str
    line: int
    """From 1; 0 when the problem is with the file or directory itself."""
    field: str
    """For example ``upstreams[0].targets[2].port``; empty when it is none in particular."""
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class DefinitionFile(NamedTuple):
    """The definitions of a file without problems, in the order in which they are written."""

    path: str
    upstreams: tuple[Located[Upstream], ...]
    gateways: tuple[Located[Gateway], ...]


class FileClash(NamedTuple):
    """Two definitions that cannot both be served."""

    problem: FileProblem
    paths: frozenset[str]
    """The files of both."""
    lacks: str
    """The upstream that a gateway names and no file defines: another file may, or the API; empty for any other clash."""


def outline(tree: Tree, path: str) -> list[FileProblem]:
    """What is wrong with a file before its definitions are looked at: its text, and its top level."""
    problems = [FileProblem(path, line, Problem(place, "").field, message) for line, place, message in tree.mistakes]
    if tree.data is None and not problems:
        return [FileProblem(path, 1, "", "the file is empty: write upstreams: [] to define none")]
    if not isinstance(tree.data, dict):
        message = "the top level must be the fields upstreams and gateways"
        if isinstance(tree.data, list):
            message += ", not a list: write upstreams: above it"
        return [*problems, FileProblem(path, tree.line(()), "", message)]
    return problems + _frame(tree, path)


def from_tree(tree: Tree, path: str, inspect: Inspect | None = None) -> DefinitionFile | list[FileProblem]:
    """The definitions in `tree`, or every problem with them, sorted by line; also those that `inspect` finds."""
    problems = outline(tree, path)
    if not isinstance(tree.data, dict):
        return problems
    upstreams = _definitions(tree, path, "upstreams", Upstream, problems, inspect)
    gateways = _definitions(tree, path, "gateways", Gateway, problems, inspect)
    problems += [clash.problem for clash in _clashes(upstreams, gateways) if not clash.lacks]
    if not problems:
        return DefinitionFile(
            path, tuple(entry.placed for entry in upstreams), tuple(entry.placed for entry in gateways)
        )
    problems = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    if len(problems) > MAX_PROBLEMS:
        last = problems[MAX_PROBLEMS - 1]
        problems[MAX_PROBLEMS:] = [last._replace(field="", message="there are more problems; mend these first")]
    return problems


def clashes_between(files: Sequence[DefinitionFile]) -> Iterator[FileClash]:
    """What only shows when the definitions of `files` are seen together."""
    return _clashes(
        [_Entry(f"upstreams[{index}]", placed) for file in files for index, placed in enumerate(file.upstreams)],
        [_Entry(f"gateways[{index}]", placed) for file in files for index, placed in enumerate(file.gateways)],
    )


class _Entry(NamedTuple, Generic[D]):
    field: str
    placed: Located[D]
    in_doubt: bool = False
    """Whether one of `_CLASHING` may not say what its author meant."""


def _clashes(upstreams: Sequence[_Entry[Upstream]], gateways: Sequence[_Entry[Gateway]]) -> Iterator[FileClash]:
    entries: dict[int, _Entry[Upstream] | _Entry[Gateway]] = {id(entry.placed): entry for entry in upstreams}
    entries.update((id(entry.placed), entry) for entry in gateways)
    for at, field, message, other in clashes(
        (entry.placed for entry in upstreams), (entry.placed for entry in gateways)
    ):
        entry = entries[id(at)]
        if other is not None and other.value.name != at.value.name and (entry.in_doubt or entries[id(other)].in_doubt):
            continue
        problem = FileProblem(at.source, at.line, f"{entry.field}.{field}", message)
        lacks = at.value.upstream if other is None and isinstance(at.value, Gateway) else None
        yield FileClash(problem, frozenset({at.source, other.source} if other else {at.source}), lacks or "")


def _frame(tree: Tree, path: str) -> list[FileProblem]:
    """What is wrong with the top level, whatever its lists hold."""
    try:
        Document.model_validate({key: () if isinstance(value, list) else value for key, value in tree.data.items()})
    except ValidationError as error:
        return [_placed(problem, tree, path) for problem in problems_of(error, Document)]
    return []


def _definitions(
    tree: Tree, path: str, field: str, model: type[D], problems: list[FileProblem], inspect: Inspect | None
) -> list[_Entry[D]]:
    """The definitions in the list `field`; what is wrong with them is added to `problems`.

    Those with problems are among them, without their wrong parts, so that clashes show at once too.
    """
    entries = tree.data.get(field)
    found: list[_Entry[D]] = []
    for index, data in enumerate(entries if isinstance(entries, list) else ()):
        checked: Checked[D] = check(with_nothing(data), model)
        wrong = checked.problems
        if inspect is not None and checked.value is not None:
            wrong += [problem for problem in inspect(checked.value) if not rests_on(problem, checked.doubtful)]
        problems += [_placed(problem.under(field, index), tree, path) for problem in wrong]
        if len(problems) > MAX_PROBLEMS:
            break
        if checked.value is not None and ("name",) not in checked.doubtful:
            placed = Placed(path, tree.line((field, index)), checked.value)
            in_doubt = any(place[0] in _CLASHING for place in checked.doubtful)
            found.append(_Entry(f"{field}[{index}]", placed, in_doubt))
    return found


def with_nothing(data: Any) -> Any:
    """A definition's data with `NOTHING` for every null, except under `envoy`, where null removes a field of ours."""
    if isinstance(data, dict):
        return {key: value if key == "envoy" and value is not None else _marked(value) for key, value in data.items()}
    return data


def _marked(data: Any) -> Any:
    if data is None:
        return NOTHING
    if isinstance(data, dict):
        return {key: _marked(value) for key, value in data.items()}
    return [_marked(value) for value in data] if isinstance(data, list) else data


def _placed(problem: Problem, tree: Tree, path: str) -> FileProblem:
    line = tree.line(problem.location)
    others = sorted({tree.line(place) for place in problem.about if _exists(tree.data, place)} - {line})
    also = f" (see line {' and '.join(map(str, others))})" if others else ""
    return FileProblem(path, line, problem.field, problem.message + also)


def _exists(data: Any, location: Location) -> bool:
    return existing(data, location) == location
