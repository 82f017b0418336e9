"""Another control plane in the same run: a small program on the module go-control-plane, where Go is on the machine."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SOURCE: Final = Path(__file__).parent / "peers" / "go-control-plane"
CACHES: Final = ("snapshot", "linear")


class NoPeerError(Exception):
    """It cannot be built here. The text says why."""


def build(directory: Path) -> Path:
    """The program, built into a directory. Raises NoPeerError."""
    go = shutil.which("go")
    if go is None:
        raise NoPeerError("Go is not on this machine")
    binary = directory / "peer"
    made = subprocess.run([go, "build", "-o", binary, "."], cwd=SOURCE, capture_output=True, text=True, check=False)
    if made.returncode:
        raise NoPeerError(f"it does not build: {made.stderr.strip()[-300:]}")
    return binary


class Peer:
    """The program, for as long as the `with` block lasts."""

    def __init__(self, binary: Path, cache: str, places: Iterable[tuple[str, str]]) -> None:
        """`cache`: one of `CACHES`. `places`: upstreams with the address of their only target."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the block
        self._process = subprocess.Popen(
            [binary, "--cache", cache], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._write(" ".join(f"{name}={host}" for name, host in places))
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        """Where it listens."""
        if not self.address:
            self._log.seek(0)
            raise NoPeerError(f"it does not start: {self._log.read().decode()[-300:]}")
        self.pid = self._process.pid

    def weigh(self, name: str, host: str, weight: int) -> float:
        """Change the weight of a target; returns when that was asked."""
        asked = time.monotonic()
        self._write(f"{name} {host} {weight}")
        return asked

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
