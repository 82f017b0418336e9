"""Rows of figures, and how they are shown: as a table and as JSON."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """What one case of a workload cost."""

    workload: str
    case: Mapping[str, Any]
    """What was measured: sizes, the variant of the protocol."""
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """Names say their units."""


def median(values: Iterable[float]) -> float:
    """Raises statistics.StatisticsError for none."""
    return statistics.median(values)


def p99(values: Iterable[float]) -> float:
    """Of fewer than a hundred values, the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def milliseconds(values: Sequence[float], what: str) -> dict[str, float]:
    """Median and p99 of seconds."""
    return {f"{what}_median_ms": 1000 * median(values), f"{what}_p99_ms": 1000 * p99(values)}


def table(rows: Sequence[Row]) -> str:
    """One table for each workload, a line for each row."""
    parts = []
    for workload in dict.fromkeys(row.workload for row in rows):
        mine = [row for row in rows if row.workload == workload]
        heads = list(dict.fromkeys(key for row in mine for key in (*row.case, *row.figures)))
        lines = [[_shown({**row.case, **row.figures}.get(head)) for head in heads] for row in mine]
        widths = [max(len(text) for text in column) for column in zip(heads, *lines, strict=True)]
        shown = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
        head = "  ".join(text.rjust(width) for text, width in zip(heads, widths, strict=True))
        parts.append("\n".join([workload, head, *shown]))
    return "\n\n".join(parts)


def as_line(row: Row) -> str:
    """One row, while others are yet to come."""
    said = {**row.case, **row.figures}
    return f"{row.workload}: " + ", ".join(f"{key} {_shown(value)}" for key, value in said.items())


def as_json(rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    """Everything, for programs."""
    return json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
