import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

from xds_server.testing import EnvoyNotFoundError, find_envoy


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Python and nothing else: three empty places where an Envoy could be."""
    package = importlib.machinery.ModuleSpec("envoy", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path / "xds_protos"), str(tmp_path / "package")]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package if name == "envoy" else None)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_beside_python_then_in_its_packages_then_on_the_path(bare: Path) -> None:
    on_path = executable(bare / "path" / "envoy")
    assert find_envoy() == on_path
    in_package = executable(bare / "package" / "_bin" / "envoy")
    assert find_envoy() == in_package
    beside = executable(bare / "venv" / "envoy")
    assert find_envoy() == beside


def test_a_machine_without_one_is_told_what_to_install(bare: Path) -> None:
    with pytest.raises(EnvoyNotFoundError, match=r"pip install 'xds-server\[envoy\]'"):
        find_envoy()


def test_neither_does_python_need_packages(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvoyNotFoundError):
        find_envoy()
