"""The fixtures of users, by containers: the same example that runs by processes (tests/testing/test_plugin.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("mode", "which", "passed"), [("container", "test", 2), ("auto", "shared", 1)])
def test_the_example_runs_by_containers(
    mode: str, which: str, passed: int, root: Path, tmp_path: Path, server_image: str, envoy_image: str
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nxds_server_mode = {mode}\n")
    # That it ran by containers shows in the address of its Envoy's control plane.
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(autouse=True)\n"
        "def _in_containers(xds_server):\n    assert xds_server.xds_address == 'xds-server:18000'\n"
    )
    example = tmp_path / "test_my_service.py"
    example.write_text((root / "examples" / example.name).read_text())
    environment = {**os.environ, "XDS_SERVER_IMAGE": server_image, "XDS_SERVER_ENVOY_IMAGE": envoy_image}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        "-c",
        "pytest.ini",
        "-k",
        which,
    ]
    done = subprocess.run([*command, example], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{passed} passed" in done.stdout
