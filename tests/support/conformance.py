"""Which test shows which item of the conformance list: the numbers that tests carry in their names, and the page made of them.

`python tests/support/conformance.py docs/conformance.md` runs those tests and writes the page. A name carries its numbers in
front (``test_S35_B9_names_…``), or in the id of a parametrized row (``[S47-…]``).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("conformance_items.toml")
_ITEM = r"[SDBPRV][1-9]\d?"
_IN_NAME = re.compile(rf"test_((?:{_ITEM}_)+)")
_IN_ROW = re.compile(rf"(?:^|-)((?:{_ITEM}_)*{_ITEM})(?=-|$)")
COLLECTED = pytest.StashKey[list[str]]()
"""Where a run of the whole suite has its node ids."""
MISTAKES = "B"
"""The chapter whose items are not what holds, but what must not happen."""
CHAPTERS = {
    "S": "State of the world",
    "D": "Incremental",
    "B": "Mistakes that control planes have made",
    "P": "Safety and limits",
    "R": "What gRPC clients and Envoys want",
    "V": "Other services",
}
INTRODUCTION = """# Conformance

What a control plane owes its clients, item by item, and the tests that show it. Made by `make docs` from a run of these tests
(`tests/support/conformance.py`); a test fails when it is out of date. The numbers are those in the names of the tests.

On top of that a recorder (`tests/support/recorder.py`) watches every stream of every test of the suite, those of server
processes too, for what must hold of each response: no answer to an ACK, nothing again after a NACK, no name twice, each
full set complete, nonces unique, clusters before what refers to them, nothing taken away that is in use.
"""


class Items(NamedTuple):
    """The data file."""

    lines: dict[str, str]
    """What each item says."""
    reasons: dict[str, str]
    """Why there is no test of an item."""
    no_test_yet: frozenset[str]


def load() -> Items:
    """Read the data file."""
    data = tomllib.loads(DATA.read_text(encoding="utf-8"))
    return Items(data["items"], data["reasons"], frozenset(data["no_test_yet"]["items"]))


class Shown(NamedTuple):
    """A test as the page names it: all rows of one function, or one row where the rows carry the numbers."""

    path: str
    name: str


def numbers(node_id: str) -> dict[str, Shown]:
    """The items that a test carries, and how the page names it for each."""
    path, _, rest = node_id.partition("::")
    *_, test = rest.split("::")
    function, _, row = test.partition("[")
    found = {}
    if match := _IN_NAME.match(function):
        found.update(dict.fromkeys(match[1].strip("_").split("_"), Shown(path, function)))
    for match in _IN_ROW.finditer(row.removesuffix("]")):
        found.update(dict.fromkeys(match[1].split("_"), Shown(path, test)))
    return found


def tests_by_item(node_ids: Iterable[str]) -> dict[str, set[Shown]]:
    """All tests of each item that has any."""
    found: dict[str, set[Shown]] = {}
    for node_id in node_ids:
        for item, shown in numbers(node_id).items():
            found.setdefault(item, set()).add(shown)
    return found


def problems(node_ids: Iterable[str]) -> list[str]:
    """What is wrong with the data file, in words."""
    items, tests = load(), tests_by_item(node_ids)
    wrong = [f"{item} is not an item: {sorted(tests[item])[0].name}" for item in tests.keys() - items.lines.keys()]
    for item in items.lines:
        states = [item in tests, item in items.reasons, item in items.no_test_yet]
        if not any(states):
            wrong.append(f"{item} has neither a test nor a reason")
        elif sum(states) > 1:
            wrong.append(f"{item} has a test by now, or two explanations: remove it from {DATA.name}")
    return sorted(wrong)


# The page


def rows(node_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """By item: what it says, and what shows it."""
    items, tests = load(), tests_by_item(node_ids)
    table = {}
    for item, line in items.lines.items():
        if item in tests:
            shown = _shown(tests[item])
        else:
            shown = items.reasons.get(item, "no test yet")
        table[item] = (line, shown)
    return table


def _shown(tests: set[Shown]) -> str:
    by_path: dict[str, list[str]] = {}
    for test in sorted(tests):
        by_path.setdefault(test.path, []).append(f"`{test.name}`")
    parts = (f"[{path.removeprefix('tests/')}](../{path}): {', '.join(names)}" for path, names in by_path.items())
    return "<br>".join(parts).replace("|", "\\|")


def page(outcomes: Mapping[str, str]) -> str:
    """The page, from the outcome of each test by its node id."""
    results: dict[str, set[str]] = {}
    for node_id, outcome in outcomes.items():
        for item in numbers(node_id):
            results.setdefault(item, set()).add(outcome)
    text = [INTRODUCTION.rstrip()]
    table = rows(outcomes)
    for letter, title in CHAPTERS.items():
        text.append(f"\n## {letter}: {title}\n")
        column = "mistake that is not made" if letter == MISTAKES else "what holds"
        text.append(f"| item | {column} | shown by, or why not | result |\n|---|---|---|---|")
        for item, (line, shown) in table.items():
            if item[0] == letter:
                text.append(f"| {item} | {line} | {shown} | {'; '.join(sorted(results.get(item, ())))} |")
    return "\n".join(text) + "\n"


def rows_of(text: str) -> dict[str, tuple[str, str]]:
    """What `rows` gave when a page was made."""
    found = {}
    for line in text.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) == 6 and re.fullmatch(_ITEM, cells[1].strip()):
            found[cells[1].strip()] = (cells[2].strip(), cells[3].strip())
    return found


# Running


def collect() -> list[str]:
    """Node ids of the whole suite, from a process of its own."""
    run = _pytest("--collect-only", "-q")
    if run.returncode:
        raise RuntimeError(f"the suite cannot be collected:\n{run.stdout}{run.stderr}")
    return [line for line in run.stdout.splitlines() if "::" in line]


def run_them() -> dict[str, str]:
    """Run the tests that carry numbers; the outcome of each by its node id. Raises RuntimeError when one fails."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.json"
        run = _pytest("-q", "-n", "2", "--dist", "worksteal", "-p", "conformance_plugin", f"--conformance={results}")
        if run.returncode:
            raise RuntimeError(f"a test of the list fails:\n{run.stdout}{run.stderr}")
        outcomes: dict[str, str] = json.loads(results.read_text())
    return outcomes


def _pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *arguments, "tests"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def main() -> None:
    """Write the page, or say what is wrong."""
    if wrong := problems(collect()):
        sys.exit("\n".join(wrong))
    Path(sys.argv[1]).write_text(page(run_them()), encoding="utf-8")


if __name__ == "__main__":
    main()
