"""From the body of a request to definitions, or to all that is wrong with it. Pure."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from xds_server.catalog.errors import RefusedError
from xds_server.upstreams.checking import check, rests_on
from xds_server.upstreams.definition_file import with_nothing
from xds_server.upstreams.model import Definition, Document, Gateway, Problem, Upstream

D = TypeVar("D", bound=Definition)
Inspect = Callable[[Upstream | Gateway], Sequence[Problem]]
"""What is wrong with a definition beyond its format."""
MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of one definition."""
LONG: Final = 65_536
"""Bytes above which a body is parsed in a thread."""


class BodyError(RefusedError):
    """A body that is not what it should be. Locations begin at its top."""

    def __init__(self, problems: Sequence[Problem], *, is_unreadable: bool = False) -> None:
        self.problems, self.is_unreadable = problems, is_unreadable
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems))


async def read_json(body: bytes | str) -> Any:
    """As `parse_json`, without holding up others."""
    return await asyncio.to_thread(parse_json, body) if len(body) > LONG else parse_json(body)


def parse_json(body: bytes | str) -> Any:
    """Plain data. Raises BodyError for what is not JSON, and for a name that is written twice."""
    try:
        return json.loads(body, object_pairs_hook=_fields, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise _unreadable("the body is not UTF-8") from None
    except RecursionError:
        raise _unreadable("the body has too many levels") from None
    except ValueError as error:
        raise _unreadable(f"the body is not JSON: {error}") from None


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _unreadable(f"the field {next(name for name in names if names.count(name) > 1)!r} is written twice")
    return made


def _no_number(text: str) -> Any:
    raise _unreadable(f"{text} is not JSON")


def _unreadable(message: str) -> BodyError:
    return BodyError([Problem((), message)], is_unreadable=True)


def definition(data: Any, model: type[D], inspect: Inspect | None = None, *, name: str | None = None) -> D:
    """One definition. `name`: from the address of the request; in the body it may be left out, or must be the same.

    Raises BodyError with every problem.
    """
    if name is not None and isinstance(data, dict):
        if data.get("name", name) != name:
            raise BodyError([Problem(("name",), f"the address says {name!r}: leave the name out, or write the same")])
        data = {"name": name, **data}
    value, problems = _checked(data, model, inspect)
    if value is None or problems:
        raise BodyError(problems or [Problem((), "this is no definition")])
    return value


def document(data: Any, inspect: Inspect | None = None) -> tuple[list[Upstream], list[Gateway]]:
    """A whole document. Raises BodyError with every problem of every definition."""
    if not isinstance(data, dict):
        raise BodyError([Problem((), 'expected fields: {"upstreams": [...], "gateways": [...]}')])
    problems: list[Problem] = []
    frame = check({key: () if isinstance(value, list) else value for key, value in data.items()}, Document)
    problems += frame.problems
    upstreams = _all(data, "upstreams", Upstream, inspect, problems)
    gateways = _all(data, "gateways", Gateway, inspect, problems)
    if problems:
        raise BodyError(problems)
    return upstreams, gateways


def _all(
    data: Mapping[str, Any], field: str, model: type[D], inspect: Inspect | None, problems: list[Problem]
) -> list[D]:
    entries = data.get(field)
    found: list[D] = []
    names: dict[str, int] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        value, wrong = _checked(entry, model, inspect)
        problems += [problem.under(field, index) for problem in wrong]
        if value is None or wrong:
            continue
        name: str = value.name  # type: ignore[attr-defined]
        if (first := names.setdefault(name, index)) != index:
            problems.append(Problem((field, index, "name"), f"{name!r} is already defined at {field}[{first}]"))
        found.append(value)
    return found


def _checked(data: Any, model: type[D], inspect: Inspect | None) -> tuple[D | None, list[Problem]]:
    found = check(with_nothing(data), model)
    problems = list(found.problems)
    if inspect is not None and isinstance(found.value, Upstream | Gateway):
        problems += [problem for problem in inspect(found.value) if not rests_on(problem, found.doubtful)]
    return found.value, problems


def merged(data: Any, patch: Any) -> Any:
    """`data` with a JSON merge patch (RFC 7396) over it: null takes a field away."""
    if not isinstance(patch, dict):
        return patch
    made = dict(data) if isinstance(data, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made
