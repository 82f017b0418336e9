"""Which test proves which feature of a definition: the `feature` markers of the tests, and the page made of them.

`python tests/support/features.py docs/features.md` writes the page.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
COLLECTED = pytest.StashKey[list["Proof"]]()
"""Where a run of the whole suite has its features."""
SECTIONS = (
    "Load balancing",
    "Localities and failover",
    "Active health checks",
    "Passive health checks",
    "Target states",
    "Limits, retries and timeouts",
    "Protocols and TLS",
    "Addresses and DNS",
    "Gateways",
    "Lints",
)
INTRODUCTION = """# Features, and the tests that prove them

Each line is proven by requests through a real Envoy 1.40, mostly by what the targets counted; lines about gRPC clients by real
gRPC clients, without an Envoy, and those about what is printed by that, too. Made by `make docs` from the
`feature` markers of the tests (`tests/support/features.py`); a test fails when it is out of date. What each field becomes:
[definitions.md](definitions.md).
"""


class Proof(NamedTuple):
    """One line of the page."""

    section: str
    sentence: str
    path: str
    test: str


def proofs(items: Iterable[pytest.Item]) -> list[Proof]:
    """The features that tests are marked with, each test function once."""
    found = {}
    for item in items:
        path, _, name = item.nodeid.partition("::")
        for marker in item.iter_markers("feature"):
            section, sentence = marker.args
            found[Proof(section, sentence, path, name.partition("[")[0])] = None
    return list(found)


def problems(found: Iterable[Proof]) -> list[str]:
    """What is wrong with markers, in words."""
    return [
        f"{proof.path}: {proof.test}: there is no section {proof.section!r}"
        for proof in found
        if proof.section not in SECTIONS
    ]


def page(found: Iterable[Proof]) -> str:
    """The page."""
    text = [INTRODUCTION.rstrip()]
    every = [*found]
    for section in SECTIONS:
        tests: dict[str, list[str]] = {}
        for proof in every:
            if proof.section == section:
                shown = f"[{proof.path.removeprefix('tests/')}](../{proof.path}): `{proof.test}`"
                tests.setdefault(proof.sentence, []).append(shown)
        text.append(f"\n## {section}\n\n| what holds | shown by |\n|---|---|")
        text += [f"| {_cell(sentence)} | {'<br>'.join(sorted(shown))} |" for sentence, shown in sorted(tests.items())]
    return "\n".join(text) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def collect() -> list[Proof]:
    """The features of the whole suite, from a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "features.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "features_plugin",
            f"--features={results}",
        ]
        run = subprocess.run([*command, "tests"], cwd=ROOT, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"the suite cannot be collected:\n{run.stdout}{run.stderr}")
        return [Proof(*row) for row in json.loads(results.read_text())]


def main() -> None:
    """Write the page, or say what is wrong."""
    found = collect()
    if wrong := problems(found):
        sys.exit("\n".join(wrong))
    Path(sys.argv[1]).write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
