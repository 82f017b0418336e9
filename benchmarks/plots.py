"""Plots of what a workload costs against its size: one picture (SVG) for each kind of cost, a line for each case.

The sizes of a workload are a decade or so apart, and stand side by side; costs are on a logarithmic scale. So a line that is
flat says that the size does not matter, and one that rises by a decade for each of them says that all is looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pygal
from pygal.style import LightStyle

from benchmarks.figures import Row


class Plot(NamedTuple):
    """One figure of a workload, against one of its sizes."""

    workload: str
    size: str
    """What of the case is the size."""
    figure: str


PLOTS: Final = (
    Plot("one-change", "upstreams", "last_ack_median_ms"),
    Plot("one-change", "upstreams", "server_cpu_us_per_message"),
    Plot("one-change", "streams", "last_ack_median_ms"),
    Plot("peer", "upstreams", "last_ack_median_ms"),
    Plot("peer", "upstreams", "server_cpu_us_per_message"),
    Plot("cold-start", "upstreams", "first_full_median_s"),
    Plot("cold-start", "upstreams", "server_after_mib"),
)
_NOT_A_CASE: Final = {"starts", "targets"}
"""What tells no line from another."""


def draw(rows: Sequence[Row], directory: Path) -> Iterator[Path]:
    """Draw every plot that has two sizes to show; returns what was written."""
    for plot in PLOTS:
        mine = [row for row in rows if row.workload == plot.workload and row.figures.get(plot.figure) is not None]
        sizes = sorted({row.case[plot.size] for row in mine})
        if len(sizes) < 2:
            continue
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{plot.workload}-{plot.figure}-by-{plot.size}.svg"
        path.write_bytes(_chart(plot, mine, sizes).render())
        yield path


def _chart(plot: Plot, rows: Sequence[Row], sizes: Sequence[int]) -> Any:
    chart = pygal.Line(
        title=f"{plot.workload}: {plot.figure}",
        x_title=plot.size,
        logarithmic=True,
        style=LightStyle,
        js=(),  # nothing is fetched, by whoever looks at it
        legend_at_bottom=True,
        truncate_legend=-1,
        disable_xml_declaration=False,
    )
    chart.x_labels = [f"{size:,}" for size in sizes]
    for name, costs in lines(plot, rows).items():
        chart.add(name, [costs.get(size) for size in sizes])
    return chart


def lines(plot: Plot, rows: Sequence[Row]) -> dict[str, dict[int, float | None]]:
    """The costs by size, for each case apart from that."""
    found: dict[str, dict[int, float | None]] = {}
    for row in rows:
        found.setdefault(_named(row.case, plot.size), {})[row.case[plot.size]] = row.figures[plot.figure]
    return found


def _named(case: Mapping[str, Any], size: str) -> str:
    rest = {key: value for key, value in case.items() if key != size and key not in _NOT_A_CASE}
    return ", ".join(f"{value:,} {key}" if isinstance(value, int) else str(value) for key, value in rest.items())
