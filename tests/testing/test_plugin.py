"""The fixtures that users get: the example of the documentation runs, by processes, and a suite that uses none pays nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import xds_server.testing

LIGHT = """
def test_nothing_was_imported():
    import sys
    assert "xds_server.testing.plugin" in sys.modules
    heavy = {"grpc", "envoy", "yaml", "google.protobuf", "testcontainers", "docker", "pydantic", "xds_server.testing.load"}
    assert not heavy & set(sys.modules)
"""
BAD_MODE = "def test_it(xds_server_mode): pass"


def run_pytest(*arguments: object, directory: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]
    done = subprocess.run([*map(str, command), f"--rootdir={directory}"], capture_output=True, text=True, cwd=directory)
    return done.returncode, done.stdout + done.stderr


def ini(directory: Path, *lines: str) -> str:
    file = directory / "pytest.ini"
    file.write_text("\n".join(["[pytest]", "asyncio_mode = strict", *lines]))
    return f"--config-file={file}"


@pytest.mark.envoy
def test_the_example_runs_by_processes(root: Path, tmp_path: Path) -> None:
    config = ini(tmp_path, "xds_server_mode = process")
    code, output = run_pytest(config, root / "examples" / "test_my_service.py", directory=tmp_path)
    assert code == 0, output
    assert "2 passed" in output
    assert output.count("xds-server: the fixtures ran processes\n") == 1


@pytest.mark.parametrize("workers", ["0", "2"])
def test_how_things_run_is_told_once_by_workers_too(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_mode.py").write_text("def test_a(xds_server_mode): pass\ndef test_b(xds_server_mode): pass")
    config = ini(tmp_path, "xds_server_mode = process")
    code, output = run_pytest(config, "-n", workers, "test_mode.py", directory=tmp_path)
    assert code == 0, output
    assert output.count("xds-server: the fixtures ran processes\n") == 1


def test_a_suite_without_these_fixtures_imports_nothing_for_them(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(LIGHT)
    others = ["schemathesis", "hypothesispytest", "asyncio", "xdist", "timeout", "anyio"]
    code, output = run_pytest(*(f"-pno:{name}" for name in others), tmp_path / "test_light.py", directory=tmp_path)
    assert code == 0, output
    assert "xds-server:" not in output


def test_a_mode_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_mode.py").write_text(BAD_MODE)
    code, output = run_pytest(ini(tmp_path, "xds_server_mode = virtual"), "test_mode.py", directory=tmp_path)
    assert code == 1
    assert "xds_server_mode = virtual: write auto, process or container" in output


def test_containers_without_an_engine_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    (tmp_path / "test_it.py").write_text("def test_it(xds_server): pass")
    code, output = run_pytest(ini(tmp_path, "xds_server_mode = container"), "test_it.py", directory=tmp_path)
    assert code == 1
    assert "RuntimeError: no Docker engine answers: start one, or set DOCKER_HOST" in output


def test_every_name_is_there_and_no_other() -> None:
    for name in xds_server.testing.__all__:
        assert getattr(xds_server.testing, name).__module__.startswith("xds_server.")
    with pytest.raises(AttributeError, match="no_such_name"):
        xds_server.testing.no_such_name  # noqa: B018
