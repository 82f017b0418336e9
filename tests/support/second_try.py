"""Tests that count traffic through Envoy get a second try when they fail, and it is told.

One of thousands of them may fail because the machine stood still for a moment, which says nothing of the product. What fails
twice is a failure. So is a stream that broke the rules of the protocol, and any failure among more than `MOST` in one run. Each
is to be looked into: it may be a mistake of the product all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

ROOMS: Final = frozenset({"containers", "durability", "envoy", "grpc_clients"})
"""Directories of tests that count traffic."""
MOST: Final = 3
"""Second tries that one run may need."""
BROKE_THE_RULES: Final = "broke the rules of the protocol"


def give(items: list[pytest.Item], tests: Path) -> None:
    """Give each test of `ROOMS` its second try."""
    for item in items:
        if item.path.is_relative_to(tests) and item.path.relative_to(tests).parts[0] in ROOMS:
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=BROKE_THE_RULES))


def tell(reporter: pytest.TerminalReporter) -> None:
    """What needed one, with what went wrong at first."""
    for report in reporter.stats.get("rerun", []):
        reporter.section(f"Failed at first: {report.nodeid} ({report.when})")
        reporter.write_line(report.longreprtext)
    reporter.write_line(f"Second tries: {_count(reporter)} of at most {MOST}")


def are_too_many(config: pytest.Config) -> bool:
    """Whether the run fails for needing too many."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter is not None and _count(reporter) > MOST


def _count(reporter: pytest.TerminalReporter) -> int:
    return len(reporter.stats.get("rerun", []))
