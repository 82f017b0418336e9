"""The guide docs/testing.md: its example runs, and what it names exists."""

import re
from pathlib import Path

import pytest

import xds_server.testing


def guide(root: Path) -> str:
    return (root / "docs" / "testing.md").read_text(encoding="utf-8")


@pytest.mark.envoy
def test_the_example_of_the_guide_runs(root: Path, tmp_path: Path) -> None:
    scope: dict[str, object] = {}
    exec(guide(root).partition("```python\n")[2].partition("```")[0], scope)
    example = scope["test_requests_arrive"]
    assert callable(example)
    example(tmp_path)


def test_the_guide_names_everything_that_there_is(root: Path) -> None:
    text = re.sub(r"```.*?```", "", guide(root), flags=re.DOTALL)
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    assert set(xds_server.testing.__all__) - named == set()
