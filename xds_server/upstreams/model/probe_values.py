"""Values of health checks: payloads, which are text or bytes, and statuses, which are codes or ranges of them."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

_HEX = re.compile(r"hex:(?:[0-9a-fA-F]{2})+")
_RANGE = re.compile(r"([1-5][0-9]{2})-([1-5][0-9]{2})")
_LEAST, _MOST = 100, 599


def payload_bytes(payload: str) -> bytes:
    """What a payload is on the wire: its text in UTF-8, or the bytes behind ``hex:``."""
    return bytes.fromhex(payload[4:]) if payload.startswith("hex:") else payload.encode()


def _payload(value: str) -> str:
    if value.startswith("hex:") and not _HEX.fullmatch(value):
        raise ValueError(f"{value!r} is not hex: and pairs of hexadecimal digits")
    return value


Payload = Annotated[
    StrictStr,
    Field(min_length=1, max_length=4096, json_schema_extra={"not": {"pattern": "^hex:(?!([0-9a-fA-F]{2})+$)"}}),
    AfterValidator(_payload),
]


def status_bounds(status: int | str) -> tuple[int, int]:
    """The first and the last code that a status of a definition stands for."""
    if isinstance(status, int):
        return status, status
    first, _, last = status.partition("-")
    return int(first), int(last)


def _status(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < _LEAST:
            raise ValueError(f"must be at least {_LEAST}, found {value}")
        if value > _MOST:
            raise ValueError(f"must be at most {_MOST}, found {value}")
        return value
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is neither a status code nor a range of them such as 200-299")
    if match[1] > match[2]:
        raise ValueError(f"{value!r} begins above its end: write {match[2]}-{match[1]}")
    return str(value)


Status = Annotated[
    int | str,
    BeforeValidator(_status),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "integer", "minimum": _LEAST, "maximum": _MOST},
                {"type": "string", "pattern": "^[1-5][0-9]{2}-[1-5][0-9]{2}$", "examples": ["200-299"]},
            ]
        }
    ),
]
Statuses = tuple[Status, ...]
