"""The fixtures that users get: the example of the documentation runs, by processes, and a suite that uses none pays nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import xds_server.testing
from xds_server.testing.waiting import wait_until

LIGHT = """
def test_nothing_was_imported():
    import sys
    assert "xds_server.testing.plugin" in sys.modules
    heavy = {"grpc", "envoy", "yaml", "google.protobuf", "testcontainers", "docker", "pydantic", "xds_server.testing.load"}
    assert not heavy & set(sys.modules)
"""
KNOWS_NOTHING = """
def test_it(xds_server):
    assert xds_server.api("GET", "/v1/upstreams")["upstreams"] == []
"""
UNTIL_KILLED = """
import os, threading

def test_it(xds_server, xds_envoy):
    with open("pids.new", "w") as file:
        file.write(f"{xds_server.pid} {xds_envoy.pid}")
    os.rename("pids.new", "pids")
    threading.Event().wait(60)
"""
OWN_HANDLER = """
import signal

def ours(number, frame): pass
signal.signal(signal.SIGTERM, ours)

def test_it(xds_server):
    assert signal.getsignal(signal.SIGTERM) is ours
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
    (tmp_path / "test_mode.py").write_text("def test_a(xds_server): pass\ndef test_b(xds_server): pass")
    config = ini(tmp_path, "xds_server_mode = process")
    code, output = run_pytest(config, "-n", workers, "test_mode.py", directory=tmp_path)
    assert code == 0, output
    assert output.count("xds-server: the fixtures ran processes\n") == 1


def test_nothing_is_told_of_what_did_not_run(tmp_path: Path) -> None:
    (tmp_path / "test_mode.py").write_text("def test_it(xds_server_mode): pass")
    code, output = run_pytest(ini(tmp_path, "xds_server_mode = container"), "test_mode.py", directory=tmp_path)
    assert code == 0, output
    assert "xds-server:" not in output


def test_the_control_plane_knows_nothing_yet_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text("upstreams: [{name: stray, targets: [{host: 127.0.0.1, port: 1}]}]")
    monkeypatch.setenv("XDS_SERVER_DEFINITIONS", str(definitions))
    monkeypatch.setenv("XDS_SERVER_TLS_CERT", "/nowhere")
    (tmp_path / "test_it.py").write_text(KNOWS_NOTHING)
    code, output = run_pytest(ini(tmp_path, "xds_server_mode = process"), "test_it.py", directory=tmp_path)
    assert code == 0, output


@pytest.mark.envoy
def test_sigterm_leaves_nothing_running(tmp_path: Path) -> None:
    """As SIGINT does: processes are ended, and temporary files go."""
    (tmp_path / "test_it.py").write_text(UNTIL_KILLED)
    files = tmp_path / "files"
    files.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"]
    command += [ini(tmp_path, "xds_server_mode = process"), f"--rootdir={tmp_path}"]
    environment = {**os.environ, "TMPDIR": str(files)}
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    told = tmp_path / "pids"
    try:
        wait_until(lambda: told.exists() or running.poll() is not None, 60, lambda: "the test")
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == pytest.ExitCode.INTERRUPTED, output
    assert [pid for pid in told.read_text().split() if Path("/proc", pid).exists()] == []
    left = [each.name for each in files.iterdir() if not each.name.startswith("pytest-of-")]
    assert left == []


def test_a_handler_of_sigterm_that_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(OWN_HANDLER)
    code, output = run_pytest(ini(tmp_path, "xds_server_mode = process"), "test_it.py", directory=tmp_path)
    assert code == 0, output


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
