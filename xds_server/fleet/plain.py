"""Data classes as what JSON can hold."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any


def plain(value: Any) -> Any:
    """`value` with data classes as objects, times as ``2026-11-26T12:00:00.250Z`` and tuples as lists."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    return value


def utc(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as a time; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def kind(type_url: str) -> str:
    """A type's short name: ``Cluster``, ``ClusterLoadAssignment``."""
    return type_url.rpartition(".")[2]
