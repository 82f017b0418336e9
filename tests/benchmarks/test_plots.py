"""Plots show the figures that were measured, and only where there are sizes to compare."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from benchmarks.figures import Row
from benchmarks.plots import PLOTS, draw, lines

ONE_CHANGE = PLOTS[0]


def row(upstreams: int, streams: int, variant: str, milliseconds: float | None) -> Row:
    case = {"upstreams": upstreams, "streams": streams, "variant": variant}
    return Row("one-change", case, {"last_ack_median_ms": milliseconds})


ROWS = [
    row(100, 500, "delta", 40),
    row(10_000, 500, "delta", 44),
    row(10_000, 500, "sotw", 90),
    row(100, 1, "delta", 5),
]


def test_each_case_is_a_line_over_the_sizes() -> None:
    assert lines(ONE_CHANGE, ROWS) == {
        "500 streams, delta": {100: 40, 10_000: 44},
        "500 streams, sotw": {10_000: 90},
        "1 streams, delta": {100: 5},
    }


def test_a_picture_names_the_cases_the_sizes_and_the_figures(tmp_path: Path) -> None:
    drawn = [*draw(ROWS, tmp_path / "plots")]
    assert [path.name for path in drawn] == [
        "one-change-last_ack_median_ms-by-upstreams.svg",
        "one-change-last_ack_median_ms-by-streams.svg",
    ]
    text = " ".join(ElementTree.parse(drawn[0]).getroot().itertext())
    for shown in ("500 streams, delta", "500 streams, sotw", "10,000", "100", "44", "90"):
        assert shown in text
    assert b"<script xlink" not in drawn[0].read_bytes()


def test_one_size_is_no_plot(tmp_path: Path) -> None:
    assert not [*draw([row(100, 1, "delta", 5), row(100, 1, "sotw", None)], tmp_path / "plots")]
    assert not (tmp_path / "plots").exists()
