"""What every part of a definition has in common: frozen, unknown fields refused, problems that say where.

`Problem` is how a definition's mistakes leave this package: a location inside the document and one sentence.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]


class Problem(NamedTuple):
    """One mistake: where in the document, and what is wrong with what to do about it."""

    location: Location
    message: str
    about: tuple[Location, ...] = ()
    """The other places that it rests on: what a contradiction contradicts, what an unknown field may have meant.
    Without a sound value there, a contradiction is none."""

    @property
    def field(self) -> str:
        """The location as users write it, for example ``upstreams[0].targets[2].port``."""
        path = ""
        for part in self.location:
            # A key that the user made up may hold line breaks, which must not forge lines of a report.
            key = part if isinstance(part, int) or part.isprintable() else repr(part)
            path += f"[{key}]" if isinstance(key, int) else f".{key[:100]}" if path else key[:100]
        return path

    def under(self, *prefix: str | int) -> "Problem":
        """The same problem seen from further up in the document."""
        return Problem((*prefix, *self.location), self.message, tuple((*prefix, *place) for place in self.about))


class Definition(BaseModel):
    """Base of all parts of a definition: immutable, and a field that does not exist is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    absent: ClassVar[Mapping[str, str]] = {}
    """Fields that one might look for here, and why there are none: a better answer than that they are unknown."""


CONTRADICTION = "contradiction"
"""Type of the pydantic errors that `reject` raises: fields that are right, each for itself, and cannot all be meant."""
NOTHING: Final = object()
"""Stands where a file names a field and writes no value (``tls:``, or null): no field takes it.
None would be taken by every field that may be left out, and an unfinished ``tls:`` would mean plain text."""
PRIVATE_KEY: Final = "PRIVATE KEY-----"
"""How a private key in PEM begins and ends, behind its kind."""
HOLDS_A_KEY: Final = (
    "this holds a private key: definitions name the files that hold keys, and never hold one themselves"
)
LONGEST_MESSAGE = 500
"""Characters; what a user wrote is quoted in messages and may be of any length."""


def reject(problems: Iterable[Problem]) -> None:
    """Raise one `ValidationError` that holds all `problems`; return when there are none.

    Validators call it to report every contradiction at once, where a plain ``raise`` could tell only the first.
    """
    details = [
        # The message may hold braces of the user's, which pydantic would take for placeholders.
        InitErrorDetails(
            type=PydanticCustomError(CONTRADICTION, "{message}", {"message": problem.message, "about": problem.about}),
            loc=problem.location,
            input=None,
        )
        for problem in problems
    ]
    if details:
        raise ValidationError.from_exception_data(CONTRADICTION, details)


def problems_of(error: ValidationError, model: type[Definition]) -> list[Problem]:
    """Everything that `error` says about a document that should have been a `model`, in words for its author."""
    items: list[dict[str, Any]] = [{**item} for item in error.errors(include_url=False)]
    # A list whose entries are all wrong is empty to pydantic, and then also too short: that is not another mistake.
    parents = {tuple(item["loc"])[:-1] for item in items}
    return [_problem(item, model) for item in items if item["type"] != "too_short" or item["loc"] not in parents]


def _problem(item: dict[str, Any], model: type[Definition]) -> Problem:
    location = tuple(item["loc"])
    if location[-1:] == ("[key]",):
        location = location[:-1]  # pydantic's mark of a wrong key, as against the value under it
    about: tuple[Location, ...] = tuple(item.get("ctx", {}).get("about", ()))
    if item["type"] == "extra_forbidden":
        known = list(_fields_at(model, location[:-1]))
        reasons = {name: why for part in _parts_at(model, location[:-1]) for name, why in part.absent.items()}
        message = reasons.get(str(location[-1])) or unknown_field(str(location[-1]), known)
        about = tuple((*location[:-1], name) for name in _nearest(str(location[-1]), known))
    elif item["input"] is NOTHING:
        message = _nothing(item["type"], location, model)
    else:
        message = _message(item)
    if isinstance(item["input"], str) and PRIVATE_KEY in item["input"]:
        message = HOLDS_A_KEY  # and not a part of it
    if len(message) > LONGEST_MESSAGE:
        half = LONGEST_MESSAGE // 2
        message = f"{message[:half]} … {message[-half:]}"
    return Problem(location, message, about)


def _message(item: dict[str, Any]) -> str:
    kind, context, given = item["type"], item.get("ctx", {}), item["input"]
    if kind == "missing":
        return "this field is required"
    if kind == "literal_error":
        known = [word.strip().strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = _did_you_mean(given, known) if isinstance(given, str) else ""
        return f"{_shown(given)} is not one of {', '.join(known)}{near}"
    if kind == "string_type":
        hint = "; put it in quotes" if isinstance(given, int | float | bool) else ""
        return f"expected text, found {_shown(given)}{hint}"
    if kind in ("int_type", "int_from_float"):
        return f"expected a whole number, found {_shown(given)}"
    if kind == "float_type":
        return f"expected a number, found {_shown(given)}"
    if kind == "bool_type":
        return f"expected true or false, found {_shown(given)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected fields (name: value), found {_shown(given)}"
    if kind in ("tuple_type", "list_type"):
        hint = "; write [] for none" if given is None else ""
        return f"expected a list, found {_shown(given)}{hint}"
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        word = {"greater_than_equal": "at least", "less_than_equal": "at most"}.get(kind, kind.replace("_", " "))
        return f"must be {word} {next(iter(context.values()))}, found {_shown(given)}"
    if kind == "string_too_short":
        return "may not be empty"
    if kind == "string_too_long":
        return f"has at most {context['max_length']} characters, found {len(given)}"
    if kind == "too_short":
        return "needs at least one entry"
    if kind == "too_long":
        return f"has at most {context['max_length']} entries, found {context['actual_length']}"
    message = str(item["msg"])
    return message.removeprefix("Value error, ")


def _nothing(kind: str, location: Location, model: type[Definition]) -> str:
    """The words for `NOTHING`: what to write, and whether it may be left out."""
    if kind == "tuple_type":
        value = "[] for none"
    elif kind in ("model_type", "dict_type"):
        is_whole = not any(field.is_required() for field in _fields_at(model, location).values())
        value = "{} for the defaults" if kind == "dict_type" or is_whole else "its fields"
    else:
        value = "a value"
    if isinstance(location[-1], int):
        return f"nothing is written here: write {value}, or remove the entry"
    field = _fields_at(model, location[:-1]).get(location[-1])
    is_required = field is not None and field.is_required()
    return f"nothing is written here: write {value}" + ("" if is_required else ", or leave the field out")


def unknown_field(name: str, known: Iterable[str]) -> str:
    """The words for a field that does not exist, with the nearest one that does."""
    known = list(known)
    hint = _did_you_mean(name, known) or f"; known are {', '.join(known)}"
    return f"unknown field {_shown(name)}{hint}"


def _did_you_mean(name: str, known: list[str]) -> str:
    return "".join(f"; did you mean {near!r}?" for near in _nearest(name, known))


def _nearest(name: str, known: list[str]) -> list[str]:
    """The one of `known` that is most like `name`, if any is."""
    if len(name) > 100:
        return []  # comparing takes time in the square of the length
    near = difflib.get_close_matches(name.lower().replace("_", "-"), [k.replace("_", "-") for k in known], 1, 0.6)
    return [k for k in known if near and k.replace("_", "-") == near[0]]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "fields (name: value)"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields_at(model: type[Definition], location: Location) -> dict[str, FieldInfo]:
    """The fields that exist at `location` inside a document of type `model`."""
    return {name: field for part in _parts_at(model, location) for name, field in part.model_fields.items()}


def _parts_at(model: type[Definition], location: Location) -> list[type[Definition]]:
    here = [model]
    for part in location:
        if isinstance(part, str):
            here = [
                inner for m in here if part in m.model_fields for inner in _models_in(m.model_fields[part].annotation)
            ] or here
    return here


def _models_in(annotation: Any) -> Iterator[type[Definition]]:
    if isinstance(annotation, type) and issubclass(annotation, Definition):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
