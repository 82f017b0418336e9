"""For pytest: run only the tests that carry numbers of the conformance list, and write down how each ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conformance import numbers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", type=Path, help="where to write the outcomes")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Outcomes(config.getoption("--conformance")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item for item in items if not numbers(item.nodeid)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if numbers(item.nodeid)]


class _Outcomes:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        expected = getattr(report, "wasxfail", None)
        if expected is not None:
            self._outcomes[report.nodeid] = f"known gap: {expected}"
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._outcomes[report.nodeid] = f"not run: {reason.removeprefix('Skipped: ')}"
        elif report.when == "call" or report.failed:
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):  # with xdist, only where all reports arrive
            self._path.write_text(json.dumps(self._outcomes))
