"""The small values of a definition: durations, instants, names, host names, addresses and their rules."""

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import idna
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictInt,
    StrictStr,
    TypeAdapter,
    WithJsonSchema,
)

from xds_server.upstreams.model.base import HOLDS_A_KEY, PRIVATE_KEY

RESERVED_NAME = "xds-server.internal"
"""The control plane's own cluster in every bootstrap. Envoy accepts an upstream of that name and never serves it."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LONGEST = timedelta(days=365)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NAME = re.compile(r"[a-z0-9._-]{1,253}")
_SECRET_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,252}")


def _no_key(value: str) -> str:
    if PRIVATE_KEY in value:
        raise ValueError(HOLDS_A_KEY)
    return value


def parse_duration(value: Any) -> timedelta:
    """``5s``, ``250ms``, ``1.5m``, ``2h`` as a timedelta. Raises ValueError without a unit or above 365 days."""
    if isinstance(value, timedelta):
        duration = value
    else:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"a duration needs its unit: write {value}s or {value}ms")
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{value!r} is not a duration: write a number with ms, s, m or h, for example 5s or 250ms")
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > _LONGEST.total_seconds():
            raise ValueError(f"{value} is longer than 365 days")
        duration = timedelta(milliseconds=round(seconds * 1000, 3))
        if not duration and seconds:
            raise ValueError(f"{value} is shorter than a microsecond")
    if duration < timedelta(0) or duration > _LONGEST:
        raise ValueError(f"{duration} is not between 0s and 365 days")
    return duration


def format_duration(duration: timedelta) -> str:
    """A timedelta as users write it, in the largest unit that divides it: ``90s``, ``2m``, ``250ms``."""
    microseconds = round(duration / timedelta(microseconds=1))
    for unit, size in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)):
        if microseconds and microseconds % size == 0:
            return f"{microseconds // size}{unit}"
    return f"{microseconds // 1000}.{microseconds % 1000:03}ms" if microseconds else "0s"


def _zero_or_more(duration: timedelta) -> timedelta:
    # Envoy's timers count milliseconds: what is shorter is none to some of them, and a busy loop to others.
    if timedelta(0) < duration < timedelta(milliseconds=1):
        raise ValueError("must be 0s or at least 1ms")
    return duration


def _positive(duration: timedelta) -> timedelta:
    if duration < timedelta(milliseconds=1):
        raise ValueError("must be at least 1ms")
    return duration


RANGE = "x-range"
"""Key of the JSON Schema that says the range of a duration, which its pattern cannot."""


def _schema(limits: str, **more: Any) -> WithJsonSchema:
    pattern = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
    examples = ["5s", "250ms", "1m"]
    return WithJsonSchema({"type": "string", "pattern": pattern, **more, "examples": examples, RANGE: limits})


def _not_like(pattern: str) -> Any:
    """What JSON Schema can say of a rule: text of this pattern is wrong."""
    return Field(json_schema_extra={"not": {"pattern": pattern}})


_duration = (BeforeValidator(parse_duration), PlainSerializer(format_duration, str))
Duration = Annotated[timedelta, *_duration, AfterValidator(_zero_or_more), _schema("0s, or 1ms to 365 days")]
PositiveDuration = Annotated[
    timedelta,
    *_duration,
    AfterValidator(_positive),
    _schema("1ms to 365 days", **{"not": {"pattern": r"^[0.]+(ms|s|m|h)$"}}),
]

_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"


def parse_instant(value: Any) -> datetime:
    """``2026-11-24T12:00:00Z`` or ``2026-11-24T13:00:00+01:00`` (RFC 3339) in UTC. Raises ValueError without a zone."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if not isinstance(value, str) or not re.fullmatch(_INSTANT, value):
        raise ValueError(f"{value!r} is not a time: write date, time and zone, for example 2026-11-24T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{value!r} is not a time: {error}") from None


def format_instant(instant: datetime) -> str:
    """An instant as users write it, in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{_INSTANT}$"}),
]


def _not_too_often(duration: timedelta) -> timedelta:
    if duration < timedelta(milliseconds=100):
        raise ValueError("must be at least 100ms")
    return duration


RefreshTime = Annotated[timedelta, *_duration, AfterValidator(_not_too_often), _schema("100ms to 365 days")]


def _name(value: str) -> str:
    if value == RESERVED_NAME:
        raise ValueError(f"{value!r} is reserved: it is the control plane's own cluster in every Envoy")
    if not value:
        raise ValueError("a name may not be empty")
    if len(value) > 253:
        raise ValueError(f"a name has at most 253 characters, this one has {len(value)}")
    if not _NAME.fullmatch(value):
        wrong = sorted({c for c in value if not _NAME.fullmatch(c)})
        raise ValueError(f"{value!r} holds {', '.join(map(repr, wrong))}: a name is made of a-z 0-9 . _ -")
    return value


def to_ascii(host: str) -> str:
    """A DNS name in lower case with its Unicode labels in IDNA form. Raises ValueError when it is not a DNS name.

    Underscores are allowed, as resolvers and service registries use them. A trailing dot is dropped.
    """
    name = host.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise ValueError(f"{host!r} is not a host name: {error}") from None
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{host!r} is not a host name: labels of 1 to 63 letters, digits, - or _, separated by dots")
    if name.rsplit(".", 1)[-1].isdigit():
        raise ValueError(f"{host!r} is neither an IP address nor a host name")
    return name


def _hostname(value: str) -> str:
    if value == "*":
        raise ValueError("'*' would catch every request: name a host, or a suffix such as *.example.com")
    if ":" in value:
        raise ValueError(f"{value!r}: leave the port out, a port in the request's Host is ignored")
    if is_address(value.strip()):
        raise ValueError(f"{value!r} is an IP address, not a host name")
    name = f"*.{to_ascii(value[2:])}" if value.startswith("*.") else to_ascii(value)
    if name == RESERVED_NAME:
        raise ValueError(f"{value!r} is reserved: it is the control plane's own cluster in every Envoy")
    return name


def _address(value: str) -> str:
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def _host(value: str) -> str:
    text = value.strip()
    if re.fullmatch(r"\[.*\]:.*|[^:]*:[0-9]*", text):
        raise ValueError(f"{value!r}: the port goes into the field 'port'")
    if ":" in text or text.startswith("["):
        return _address(text)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return to_ascii(text)


def is_address(host: str) -> bool:
    """Whether a target's host, as checked above, is an IP address rather than a name that must be resolved.

    Asked for every target of every change: a name never ends in a label of digits, so there is no need to parse.
    """
    return ":" in host or host.rpartition(".")[2].isdigit()


Name = Annotated[
    StrictStr,
    AfterValidator(_name),
    Field(json_schema_extra={"pattern": "^[a-z0-9._-]{1,253}$", "not": {"const": RESERVED_NAME}}),
]
Hostname = Annotated[StrictStr, AfterValidator(_hostname), _not_like(r"^\s*$|\S\s+\S|^\*$|:")]
Address = Annotated[StrictStr, AfterValidator(_address)]
Host = Annotated[StrictStr, AfterValidator(_host), _not_like(r"^\s*$|\S\s+\S|^[^:]*:[0-9]*\s*$|\]:")]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
SRV: Final = "srv"
"""Written instead of a target's port, which DNS then says."""
_PORT: TypeAdapter[int] = TypeAdapter(Port)
TargetPort = Annotated[
    int | Literal["srv"],
    # By hand, because pydantic's errors about a union name its members as if they were fields.
    PlainValidator(lambda value: value if value == SRV else _PORT.validate_python(value)),
    WithJsonSchema(
        {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string", "enum": [SRV]}]},
    ),
]
Weight = Annotated[StrictInt, Field(ge=0, le=1_000_000)]
Priority = Annotated[StrictInt, Field(ge=0, le=128)]
Percent = Annotated[StrictInt, Field(ge=0, le=100)]
Count = Annotated[StrictInt, Field(ge=0, le=4_294_967_295)]
PositiveCount = Annotated[StrictInt, Field(ge=1, le=4_294_967_295)]
Text = Annotated[StrictStr, Field(max_length=4096), AfterValidator(_no_key)]
Labels = Annotated[dict[StrictStr, StrictStr], Field(max_length=64)]


def _header_name(value: str) -> str:
    if not re.fullmatch(r":path|:authority|:method|[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", value):
        raise ValueError(f"{value!r} is not a header name")
    return value.lower()


def _one_line(value: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError(f"{value!r} holds a control character")
    return value


def _probe_path(value: str) -> str:
    if not value.startswith("/") or " " in value:
        raise ValueError(f"{value!r} is not a path: it begins with / and holds no spaces")
    return value


def _probe_header(value: str) -> str:
    if value.startswith(":") or value == "host":
        raise ValueError(f"Envoy does not let probes set {value!r} here: the Host goes into the field 'host'")
    return value


HeaderName = Annotated[StrictStr, AfterValidator(_header_name)]
OneLine = Annotated[StrictStr, Field(min_length=1, max_length=4096), AfterValidator(_no_key), AfterValidator(_one_line)]
ServerName = Annotated[OneLine, Field(max_length=255)]
ProbeHeader = Annotated[HeaderName, AfterValidator(_probe_header)]
ProbePath = Annotated[OneLine, AfterValidator(_probe_path)]


def _secret_name(value: str) -> str:
    # It becomes the name of a directory: nothing in it may lead elsewhere, or to what tools hide.
    if not _SECRET_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a secret: 1 to 253 of a-z 0-9 . _ -, not beginning with a dot")
    return value


def _alt_name(value: str) -> str:
    if "://" in value:
        return _one_line(value)
    if is_address(value) or ":" in value:
        return _address(value)
    return f"*.{to_ascii(value[2:])}" if value.startswith("*.") else to_ascii(value)


SecretName = Annotated[
    StrictStr, AfterValidator(_secret_name), Field(json_schema_extra={"pattern": f"^{_SECRET_NAME.pattern}$"})
]
AltName = Annotated[StrictStr, AfterValidator(_alt_name)]
"""A name that a certificate may carry: a DNS name, `*.suffix`, an IP address or a URI."""
