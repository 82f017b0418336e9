"""`make demo`, as far as it runs without make: the demo checks itself, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.envoy


def demo(tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xds_server", "demo", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def processes_below(directory: Path) -> list[str]:
    """Command lines of all processes that were started with something in `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(directory) in line:
                found.append(line)
    return found


def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    process = demo(tmp_path, "--once")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "All as promised." in out
    assert "backend-1 0," in out
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_runs_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    assert processes_below(tmp_path) != []
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


def test_the_demo_tells_of_edits(tmp_path: Path) -> None:
    process = demo(tmp_path)
    assert process.stdout is not None
    try:
        file = None
        for line in process.stdout:
            if "watching" in line:
                file = Path(line.split()[-1])
            if "Ctrl-C" in line:
                break
        assert file is not None
        text = file.read_text()
        file.write_text(text.replace("weight: 2", "wieght: 2"))
        told = process.stdout.readline()
        assert f"{file}:" in told
        assert "did you mean 'weight'?" in told
        file.write_text(text.replace("weight: 2", "weight: 5"))
        assert "live" in process.stdout.readline()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
