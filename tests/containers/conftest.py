"""A Docker engine and an image of Envoy, or a skipped test that says what is missing."""

import os
import subprocess

import pytest

# Ryuk, testcontainers' cleaner, is an image to be pulled; our context managers clean up. Read when it is imported.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

LOCAL_IMAGE = "xds-server-test/envoy:1.40.0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skips the test when no Docker engine answers."""
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except FileNotFoundError:
        pytest.skip("no Docker: the docker command is missing (.ci/docker start brings it)")
    if answer.returncode != 0:
        pytest.skip("no Docker: no engine answers (.ci/docker start brings one)")


@pytest.fixture(scope="session")
def envoy_image(docker_engine: None) -> str:
    """Name of an image that is on this machine; the one that .ci/envoy-image builds, unless another is chosen."""
    image = os.environ.get("XDS_SERVER_ENVOY_IMAGE", LOCAL_IMAGE)
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode != 0:
        pytest.skip(f"no image {image}: .ci/envoy-image builds one, `docker pull` fetches one")
    return image
