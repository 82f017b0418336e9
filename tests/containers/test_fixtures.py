"""The fixtures of users, by containers: the same example that runs by processes (tests/testing/test_plugin.py)."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from xds_server import __version__
from xds_server.testing.waiting import wait_until

ALL_OF_IT = """
from xds_server.testing import EnvoyContainer, XdsServerContainer

def test_they_are_containers(xds_server, xds_envoy):
    assert isinstance(xds_server, XdsServerContainer)
    assert isinstance(xds_envoy, EnvoyContainer)
"""
UNTIL_KILLED = """
import os, threading

def test_it(xds_server, xds_envoy, _xds_network):
    with open("ids.new", "w") as file:
        file.write(f"{xds_server.container_id} {xds_envoy.container_id} {_xds_network.id}")
    os.rename("ids.new", "ids")
    threading.Event().wait(120)
"""
MODE = "def test_it(xds_server_mode): assert xds_server_mode == {mode!r}"
NOT_NEEDED = ("schemathesis", "hypothesispytest", "xdist", "cacheprovider")


@pytest.fixture
def images(server_image: str, envoy_image: str) -> dict[str, str]:
    return {"XDS_SERVER_IMAGE": server_image, "XDS_SERVER_ENVOY_IMAGE": envoy_image}


def command(directory: Path, mode: str) -> list[str]:
    """What runs the tests in a directory."""
    (directory / "pytest.ini").write_text(f"[pytest]\nxds_server_mode = {mode}\n")
    return [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", *(f"-pno:{name}" for name in NOT_NEEDED)]


def passed(directory: Path, mode: str, images: dict[str, str]) -> str:
    """What pytest says of the tests in a directory."""
    environment = {**os.environ, **images}
    done = subprocess.run(
        command(directory, mode), capture_output=True, text=True, cwd=directory, env=environment, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_runs_by_containers(root: Path, tmp_path: Path, images: dict[str, str]) -> None:
    example = (root / "examples" / "test_my_service.py").read_text()
    (tmp_path / "test_example.py").write_text(f"{example}\n{ALL_OF_IT}")
    told = passed(tmp_path, "container", images)
    assert "3 passed" in told
    assert told.count("xds-server: the fixtures ran containers\n") == 1
    assert "is installed" not in told, "the image is of this version"


@pytest.fixture
def other_version(server_image: str) -> Iterator[str]:
    """The image, with another version in its label."""
    name = f"{server_image}-{uuid.uuid4().hex[:8]}"
    made = subprocess.check_output(["docker", "create", server_image], text=True).strip()
    label = "LABEL org.opencontainers.image.version=0.0.9"
    subprocess.run(["docker", "commit", "--change", label, made, name], check=True, capture_output=True)
    subprocess.run(["docker", "rm", "--volumes", made], check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def test_an_image_of_another_version_is_told(tmp_path: Path, images: dict[str, str], other_version: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(xds_server): pass\ndef test_again(xds_server): pass")
    told = passed(tmp_path, "container", {**images, "XDS_SERVER_IMAGE": other_version})
    assert told.count(f"xds-server: the image {other_version} has version 0.0.9, and {__version__} is installed") == 1


def test_containers_are_chosen_where_the_engine_has_both_images(tmp_path: Path, images: dict[str, str]) -> None:
    test = tmp_path / "test_mode.py"
    test.write_text(MODE.format(mode="container"))
    passed(tmp_path, "auto", images)
    test.write_text(MODE.format(mode="process"))
    passed(tmp_path, "auto", {**images, "XDS_SERVER_IMAGE": "no-such-image"})


def test_sigterm_leaves_no_container_and_no_network(tmp_path: Path, images: dict[str, str]) -> None:
    (tmp_path / "test_it.py").write_text(UNTIL_KILLED)
    running = subprocess.Popen(
        command(tmp_path, "container"), cwd=tmp_path, env={**os.environ, **images}, stdout=subprocess.PIPE, text=True
    )
    told = tmp_path / "ids"
    try:
        wait_until(lambda: told.exists() or running.poll() is not None, 120, lambda: "the test")
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == pytest.ExitCode.INTERRUPTED, output
    for kind, name in zip(("container", "container", "network"), told.read_text().split(), strict=True):
        assert subprocess.run(["docker", kind, "inspect", name], capture_output=True).returncode != 0, kind
