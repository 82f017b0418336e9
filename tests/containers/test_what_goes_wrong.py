"""Containers that do not start, or end in the middle of a test: one sentence says what it is, and hides nothing."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyContainer, XdsServerContainer

BUILD = "build it: `docker build -f deploy/Dockerfile -t xds-server .`, or set XDS_SERVER_IMAGE"
MISSING = "127.0.0.1:1/no-such-image"
"""By a registry that nobody runs, so that it is not looked for elsewhere."""


def images_of_containers() -> list[str]:
    return subprocess.check_output(["docker", "ps", "--all", "--format", "{{.Image}}"], text=True).split()


def remove(container: XdsServerContainer) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", container.container_id], check=True, capture_output=True)


def test_an_image_that_is_missing_is_told_with_what_builds_it(
    docker_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDS_SERVER_IMAGE", MISSING)
    with pytest.raises(RuntimeError) as caught:
        XdsServerContainer().start()
    told = str(caught.value)
    assert told.startswith(f"no image {MISSING} (")
    assert told.endswith(f"): {BUILD}")
    assert "\n" not in told
    assert caught.value.__suppress_context__, "the Docker client's own words are not shown"


def test_an_image_of_envoy_that_is_missing_is_told(docker_engine: None) -> None:
    with pytest.raises(
        RuntimeError, match=f"no image {MISSING} .*: pull envoyproxy/envoy:.* or set XDS_SERVER_ENVOY_IMAGE"
    ):
        EnvoyContainer(Bootstrap(node_id="edge-1"), image=MISSING).start()


@pytest.fixture
def no_such_command(envoy_image: str) -> Iterator[str]:
    """An image without the command, by a name that nobody else has."""
    name = f"xds-server-test/no-such-command:{uuid.uuid4().hex}"
    subprocess.run(["docker", "tag", envoy_image, name], check=True)
    yield name
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def test_an_image_in_which_there_is_no_such_command_is_told(no_such_command: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        XdsServerContainer(image=no_such_command).start()
    assert str(caught.value).startswith(f"the engine does not start {no_such_command} (")
    assert str(caught.value).endswith(f"): {BUILD}")
    assert no_such_command not in images_of_containers(), "nothing is left of it"


@pytest.fixture
def something_else(envoy_image: str) -> Iterator[str]:
    """An image whose container ends at once, with a word of its own."""
    name = f"xds-server-test/something-else:{uuid.uuid4().hex}"
    made = subprocess.check_output(["docker", "create", envoy_image], text=True).strip()
    change = 'ENTRYPOINT ["/usr/local/bin/envoy", "--no-such-option"]'
    subprocess.run(["docker", "commit", "--change", change, made, name], check=True, capture_output=True)
    subprocess.run(["docker", "rm", "--volumes", made], check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def test_an_image_of_something_else_is_told(something_else: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        XdsServerContainer(image=something_else).start()
    first, _, log = str(caught.value).partition("\n")
    assert first == f"{something_else} ended, and is no image of xds-server by its label: {BUILD}:"
    assert "no-such-option" in log


def test_options_that_it_refuses_are_told_in_its_words(server_image: str) -> None:
    with pytest.raises(RuntimeError, match=r"xds-server ended, it is exited with code [12]:\n(.|\n)*no-such-option"):
        XdsServerContainer(image=server_image, args=["--no-such-option"]).start()


def test_what_ended_in_the_middle_of_a_test_is_told_with_its_log(server_image: str) -> None:
    with XdsServerContainer(image=server_image) as server:
        server.kill()
        with pytest.raises(RuntimeError) as caught:
            server.api("GET", "/v1/nodes")
        first, _, log = str(caught.value).partition("\n")
        assert first == (
            "the container of XdsServerContainer does not run: it is exited with code 137. Its log ends with:"
        )
        assert "server.insecure" in log
        server.restart()
        assert server.api("GET", "/v1/nodes")["nodes"] == []
        with pytest.raises(KeyError, match="port 1 of the container is not published"):
            server.port(1)


def test_a_container_that_somebody_removed_does_not_hide_what_failed(server_image: str) -> None:
    def in_it() -> None:
        with XdsServerContainer(image=server_image) as server:
            remove(server)
            assert not server.is_running
            with pytest.raises(RuntimeError, match="does not run: it is removed"):
                server.api("GET", "/v1/nodes")
            raise AssertionError("what the test found")

    with pytest.raises(AssertionError, match="what the test found"):
        in_it()


def test_a_missing_image_is_one_sentence_of_pytests_output(docker_engine: None, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nxds_server_mode = container\n")
    (tmp_path / "test_it.py").write_text("def test_it(xds_server): pass")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", "-p", "no:cacheprovider", "-p", "no:xdist"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "XDS_SERVER_IMAGE": MISSING},
    )
    assert done.returncode == 1
    assert BUILD in done.stdout
    assert "ImageNotFound" not in done.stdout
    assert "HTTPError" not in done.stdout
