""".ci/pull: official images where a registry answers, and next to no time lost where none does."""

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry import Registry
from rig import free_port


@pytest.fixture
def names(docker_engine: None) -> Iterator[tuple[str, str]]:
    """What two images are to be called here, where none is of that name."""
    made = (f"xds-server-test/pulled:{uuid.uuid4().hex}", f"xds-server-test/pulled:{uuid.uuid4().hex}")
    yield made
    for name in made:
        # By its id, and so by the name that the registry had for it too.
        found = subprocess.run(["docker", "images", "--quiet", name], capture_output=True, text=True, check=True)
        subprocess.run(["docker", "rmi", "--force", *found.stdout.split()], capture_output=True)


def pull(root: Path, registry: str, *pairs: str) -> str:
    """The line that it prints."""
    command, environment = [root / ".ci" / "pull", *pairs], {**os.environ, "REGISTRY": registry}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert done.stdout.count("\n") == 1
    assert not done.stderr
    return done.stdout


def is_here(image: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0


def test_brings_what_a_registry_has_and_asks_no_more_for_what_is_there(root: Path, names: tuple[str, str]) -> None:
    with Registry("one:1", "two:2") as registry:
        pairs = (f"one:1={names[0]}", f"two:2={names[1]}")
        assert pull(root, registry.address, *pairs) == "images: one:1 two:2 pulled\n"
        assert all(map(is_here, names))
        registry.asked.clear()
        assert pull(root, registry.address, *pairs) == "images: there already\n"
        assert registry.asked == []


def test_says_which_image_a_registry_does_not_have(root: Path, names: tuple[str, str]) -> None:
    with Registry("one:1") as registry:
        told = pull(root, registry.address, f"one:1={names[0]}", f"two:2={names[1]}")
    assert told.startswith("images: one:1 pulled, the others are built here (")
    assert "two" in told
    assert [is_here(name) for name in names] == [True, False]


def test_loses_no_time_where_a_registry_refuses_or_does_not_answer(root: Path, names: tuple[str, str]) -> None:
    pairs = (f"one:1={names[0]}", f"two:2={names[1]}")
    started = time.monotonic()
    assert "images: none pulled, the others are built here (" in pull(root, f"127.0.0.1:{free_port()}/", *pairs)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = pull(root, f"127.0.0.1:{silent.getsockname()[1]}/", *pairs)
        assert told == "images: no registry answers, so they are built here\n"
    assert time.monotonic() - started < 8, "4 s of patience in all, and 4 s of a busy machine"
    assert not any(map(is_here, names))
