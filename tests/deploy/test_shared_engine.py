"""Runs side by side share one Docker engine, whatever DOCKER_STATE each has: `.ci/docker`, on an engine that only pretends."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGINE = """#!/bin/bash
while (($#)); do [[ $1 != --pidfile ]] || pid=$2; shift; done
trap 'rm {answers}; exit' TERM
echo $$ >"$pid"
touch {answers}
while true; do sleep 0.1; done
"""
CLIENT = """#!/bin/sh
[ "$1" != version ] || [ -e {answers} ]
"""
NOTHING = "#!/bin/sh\n"


class Machine:
    """What `.ci/docker` meets, below one directory."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.directory = directory
        self._answers = directory / "answers"
        (directory / "run").mkdir()
        for name, text in (
            ("docker-script", (root / ".ci" / "docker").read_text().replace("/run", str(directory / "run"))),
            ("docker-network", NOTHING),
            ("dockerd", ENGINE.format(answers=self._answers)),
            ("docker", CLIENT.format(answers=self._answers)),
        ):
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def __call__(self, command: str, state: str, *user: object) -> str:
        environment = {
            **os.environ,
            "PATH": f"{self.directory}:{os.environ['PATH']}",
            "DOCKER_STATE": str(self.directory / state),
        }
        call = [self.directory / "docker-script", command, *map(str, user)]
        return subprocess.check_output(call, text=True, env=environment, timeout=60)

    @property
    def answers(self) -> bool:
        return self._answers.exists()

    def left(self, state: str) -> bool:
        return (self.directory / state).exists()


@pytest.fixture
def machine(root: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(root, tmp_path)
    yield made
    for each in tmp_path.glob("*/dockerd.pid"):
        subprocess.run(["kill", each.read_text().strip()], check=True)


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A run beside this one."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_the_last_to_leave_stops_it_whatever_its_own_state(machine: Machine, other: subprocess.Popen[bytes]) -> None:
    assert "started dockerd" in machine("start", "one", os.getpid())
    assert "answers already" in machine("start", "two", other.pid)
    assert f"left to who still uses it: {other.pid}" in machine("stop", "one", os.getpid())
    assert machine.answers
    assert "docker: stopped" in machine("stop", "two", other.pid)
    assert not machine.answers
    assert not machine.left("one")
    assert "no engine of ours runs" in machine("stop", "one", os.getpid())


def test_who_ended_without_a_word_is_forgotten(machine: Machine, other: subprocess.Popen[bytes]) -> None:
    machine("start", "one", os.getpid())
    machine("start", "two", other.pid)
    other.kill()
    other.wait()
    assert "docker: stopped" in machine("stop", "one", os.getpid())
    assert not machine.answers


def test_who_named_no_process_is_waited_for_until_it_says_so(machine: Machine) -> None:
    machine("start", "one", os.getpid())
    machine("start", "two")
    assert "left to who still uses it: someone" in machine("stop", "one", os.getpid())
    assert "docker: stopped" in machine("stop", "two")
    assert not machine.answers
