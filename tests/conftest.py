"""What the whole suite shares: the closing line that says which groups of tests this machine could not run."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(f"Measured: {value}")
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason.removeprefix("Skipped: ")] += 1
    groups = "; ".join(f"{count} ({reason})" for reason, count in sorted(skipped.items()))
    terminalreporter.write_line(f"Skipped on this machine: {groups or 'nothing'}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
