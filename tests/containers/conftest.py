"""A Docker engine and images, or a skipped test that says what is missing."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testcontainers.core.network import Network

# Ryuk, testcontainers' cleaner, is an image to be pulled; our context managers clean up. Read when it is imported.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

CI = Path(__file__).parents[2] / ".ci"


LONGEST = 600
"""Seconds that one try may wait, all its waits and those of its fixtures together (test_replicas_in_containers.py): what is
waited for in vain is then told, before the test is ended for its length."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.docker)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(2 * LONGEST))  # of both tries


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skips the test when no Docker engine answers."""
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except FileNotFoundError:
        pytest.skip(
            "the tests with containers, without Docker: the docker command is missing (.ci/docker start brings it)"
        )
    if answer.returncode != 0:
        pytest.skip("the tests with containers, without Docker: no engine answers (.ci/docker start brings one)")


@pytest.fixture(scope="session")
def envoy_image(docker_engine: None) -> str:
    """Name of an image that is on this machine; the one that .ci/envoy-image builds, unless another is chosen."""
    return _present(os.environ.get("XDS_SERVER_ENVOY_IMAGE") or _name("envoy-image"), ".ci/envoy-image .venv")


@pytest.fixture(scope="session")
def server_image(docker_engine: None) -> str:
    """Name of an image of the control plane that is on this machine."""
    return _present(os.environ.get("XDS_SERVER_IMAGE") or _name("server-image"), ".ci/server-image")


@pytest.fixture(scope="session")
def postgres_image(docker_engine: None) -> str:
    """Name of an image of PostgreSQL that is on this machine, of whatever version."""
    command = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "xds-server-test/postgres"]
    found = subprocess.check_output(command, text=True).split()
    return _present(found[0] if found else "xds-server-test/postgres", ".ci/postgres-image")


@pytest.fixture
def network(docker_engine: None) -> "Iterator[Network]":
    """A Docker network of the test's own."""
    from testcontainers.core.network import Network

    with Network() as made:
        yield made


def _name(builder: str) -> str:
    """Of the image that one of .ci/ builds."""
    return subprocess.check_output([CI / builder, "--name"], text=True).strip()


def _present(image: str, builder: str) -> str:
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode != 0:
        pytest.skip(f"no image {image}: {builder} builds it")
    return image
