"""What the whole suite shares: the recorder of every stream, and the closing line that says what this machine could not run."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import conformance
import features
import postgres
import pytest
import recorder
import second_try

from xds_server.testing.server import XdsServerProcess

ROOT = Path(__file__).parents[1]
SHOWN = 5
"""Violations that a failure tells; the others are like them."""


def pytest_configure() -> None:
    recorder.install()
    XdsServerProcess.command = (sys.executable, str(ROOT / "tests" / "support" / "recorded_server.py"))


@pytest.hookimpl(tryfirst=True)  # before a choice of some of them
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    second_try.give(items, ROOT / "tests")
    whole = {ROOT, ROOT / "tests"}.intersection(Path(argument).resolve() for argument in config.args)
    if whole and not (config.option.ignore or config.option.ignore_glob or config.option.lf):
        config.stash[conformance.COLLECTED] = [item.nodeid for item in items]
        config.stash[features.COLLECTED] = features.proofs(items)


@pytest.fixture(scope="session", autouse=True)
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the recorders of this process and of the servers that it starts put what they find."""
    directory = tmp_path_factory.mktemp("recorder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(recorder.DIRECTORY, str(directory))
        yield directory
    # Of servers that ended after the last test that used them.
    assert not (late := recorder.collect(directory)), "\n".join(late)


@pytest.fixture(autouse=True)
def _streams_keep_the_rules(_recorded: Path) -> Iterator[None]:
    """Every stream of every test is checked (conformance S and D items): see `recorder_stream`."""
    yield
    if violations := recorder.collect(_recorded):
        shown = "\n".join(violations[:SHOWN])
        pytest.fail(f"{len(violations)} times a stream {second_try.BROKE_THE_RULES}:\n\n{shown}", pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and (second_try.are_too_many(session.config) or _lacks_something(session)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _lacks_something(session: pytest.Session) -> bool:
    """Whether anything was skipped where nothing may be, as in `.ci/run`."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    return "NOTHING_SKIPPED" in os.environ and reporter is not None and bool(reporter.stats.get("skipped"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    second_try.tell(terminalreporter)
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(f"Measured: {value}")
    containers = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.nodeid.startswith("tests/containers/")
    ]
    if ran := {report.nodeid for report in containers if report.failed or (report.when == "call" and report.passed)}:
        seconds = sum(report.duration for report in containers if report.nodeid in ran)
        terminalreporter.write_line(f"Measured: the {len(ran)} tests with containers took {seconds:.0f} s")
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason.removeprefix("Skipped: ")] += 1
    groups = "; ".join(f"{count} ({reason})" for reason, count in sorted(skipped.items()))
    terminalreporter.write_line(f"Skipped on this machine: {groups or 'nothing'}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """A PostgreSQL. A test that stops it starts it again."""
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.Postgres(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a new, empty store: each test that asks for it runs on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: postgres.Postgres = request.getfixturevalue("postgresql")
    return server.database()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
