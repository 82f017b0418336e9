"""Every problem of one definition, not only those that pydantic can see at once.

Pydantic compares fields with each other only when each of them is right. So after a failed validation what is wrong is
taken out, and what is left is validated again: contradictions show then. One that rests on what was taken out is not
reported, because the author may have meant a value with which there is none.
"""

from collections.abc import Mapping, Set
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from xds_server.upstreams.model import Definition, problems_of
from xds_server.upstreams.model.base import CONTRADICTION, Location, Problem

D = TypeVar("D", bound=Definition)

MAX_PROBLEMS = 1000
"""Told of one file; beyond, only that there are more. A 16 MiB file holds millions, at 40 µs and 1 kB each."""

STAND_INS: Mapping[str, Any] = {"name": "stand-in", "port": 1}
"""For what a definition cannot be without: a wrong name must not hide a contradiction elsewhere."""


class Checked(NamedTuple, Generic[D]):
    """A definition, what is wrong with it, and what cannot be relied on."""

    value: D | None
    """With problems: what is left without the wrong parts. None when that makes no definition."""
    problems: list[Problem]
    doubtful: Set[Location]
    """Places where `value` may not say what the author meant."""


def check(data: Any, model: type[D]) -> Checked[D]:
    """Validate `data` as a `model`. Never raises."""
    try:
        return Checked(model.model_validate(data), [], frozenset())
    except ValidationError as error:
        if error.error_count() > MAX_PROBLEMS:
            return Checked(None, _beginning(data, model), frozenset())
        problems = problems_of(error, model)
    doubtful = {place for problem in problems for place in (problem.location, *problem.about)}
    if not isinstance(data, dict):
        return Checked(None, problems, doubtful)
    removed: set[Location] = set()
    found, left = problems, data
    while True:
        wrong = {_original(existing(left, problem.location), removed) for problem in found} - removed - {()}
        if left is not data and not wrong:
            return Checked(None, problems, doubtful)
        removed |= wrong
        left = {**_stand_ins(model), **_without(data, removed)}
        try:
            return Checked(model.model_validate(left), problems, doubtful)
        except ValidationError as error:
            found = problems_of(error, model)
            moved = [_moved(problem, removed) for problem in found]
            # Any other kind is only an effect of what was taken out: pydantic told all of them the first time.
            if error.errors(include_input=False)[0]["type"] == CONTRADICTION:
                problems += [problem for problem in moved if not rests_on(problem, doubtful)]
            doubtful |= {problem.location for problem in moved}


def _beginning(data: Any, model: type[Definition]) -> list[Problem]:
    """The problems of `data` when there are too many for one list: those in the first entries of its lists."""
    try:
        model.model_validate(_shortened(data))
    except ValidationError as error:
        if error.error_count() <= 10 * MAX_PROBLEMS:
            return problems_of(error, model)
    return [Problem((), f"has more than {MAX_PROBLEMS} problems, too many to tell: are these definitions?")]


def _shortened(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _shortened(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_shortened(value) for value in data[: MAX_PROBLEMS + 1]]
    return data


def rests_on(problem: Problem, doubtful: Set[Location]) -> bool:
    """Whether a problem may be none once what is `doubtful` is mended; one of the definition as a whole rests on all."""
    if not problem.location:
        return bool(doubtful)
    places = (problem.location, *problem.about)
    return any(place[:length] in doubtful for place in places for length in range(1, len(place) + 1))


def _stand_ins(model: type[Definition]) -> dict[str, Any]:
    return {name: STAND_INS[name] for name, field in model.model_fields.items() if field.is_required()}


def existing(data: Any, location: Location) -> Location:
    """`location`, or its nearest parent that is in `data`: what is missing makes its parent wrong."""
    for length, part in enumerate(location):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return location[:length]
    return location


def _without(data: Any, removed: Set[Location], here: Location = ()) -> Any:
    if isinstance(data, dict):
        return {
            key: _without(value, removed, (*here, key)) for key, value in data.items() if (*here, key) not in removed
        }
    if isinstance(data, list):
        return [
            _without(value, removed, (*here, index))
            for index, value in enumerate(data)
            if (*here, index) not in removed
        ]
    return data


def _original(location: Location, removed: Set[Location]) -> Location:
    """Where something was before list items in front of it were removed."""
    here: Location = ()
    for part in location:
        if isinstance(part, int):
            gone = sorted(place[-1] for place in removed if place[:-1] == here and isinstance(place[-1], int))
            for index in gone:
                part += index <= part
        here = (*here, part)
    return here


def _moved(problem: Problem, removed: Set[Location]) -> Problem:
    about = tuple(_original(place, removed) for place in problem.about)
    return problem._replace(location=_original(problem.location, removed), about=about)
