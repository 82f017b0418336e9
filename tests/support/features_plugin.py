"""For pytest: write down which features the collected tests are marked with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from features import proofs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--features", type=Path, help="where to write the features")


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.getoption("--features").write_text(json.dumps(proofs(session.items)))
