"""Runs workloads, shows each row when it is known, and all of them at the end."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.figures import Row, as_json, as_line, table
from benchmarks.machine import machine
from benchmarks.plots import draw
from benchmarks.sizes import Size
from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the control plane, as it is run."
    )
    names = ", ".join(WORKLOADS)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"default: all of {names}")
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.SHORT, help="default: short (minutes)")
    parser.add_argument("--workers", type=int, default=1, help="of the control plane, as of its `serve`; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write everything for programs")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="where to draw cost against size, as SVG")
    asked = parser.parse_args()
    if unknown := set(asked.workloads) - WORKLOADS.keys():
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are: {names}")
    os.environ["XDS_SERVER_WORKERS"] = str(asked.workers)
    before = {**machine(), "workers": asked.workers}
    rows: list[Row] = []
    for workload in asked.workloads or WORKLOADS:
        for row in WORKLOADS[workload](asked.size):
            rows.append(row)
            print(as_line(row), file=sys.stderr, flush=True)
    about = {**before, "load_at_end": machine()["load"]}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print()
    print(table(rows))
    if asked.json is not None:
        asked.json.write_text(as_json(rows, about) + "\n", encoding="utf-8")
    for path in draw(rows, asked.plots) if asked.plots is not None else ():
        print(f"drawn: {path}")


if __name__ == "__main__":
    main()
