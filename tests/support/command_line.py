"""`xds-server` as users run it against a server: in a pipe, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forked_commands import ForkedCommands

COMMAND = (sys.executable, "-m", "xds_server")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class CommandLine:
    """Runs commands against the server at `address`; of others the environment is this process's."""

    def __init__(self, address: str, forked: ForkedCommands, **variables: str) -> None:
        self._forked = forked
        self.env = {**os.environ, "XDS_SERVER_URL": f"http://{address}", **variables}
        self.env.pop("COLUMNS", None)

    def run(self, *args: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """In a pipe. No command ever ends in a traceback."""
        done = self._forked.run([*map(str, args)], self.env, stdin)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *args: object, stdin: str = "") -> str:
        """What a command prints that does what it should."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def json(self, *args: object) -> Any:
        """What it prints for programs."""
        return json.loads(self.ok(*args, "-o", "json"))

    def rows(self, *args: object) -> list[dict[str, str]]:
        """The rows that it prints in a pipe, by the names of their columns."""
        names, *rows = (line.split("\t") for line in self.ok(*args).splitlines())
        return [dict(zip(names, row, strict=True)) for row in rows]

    def refused(self, *args: object, code: int = 1, stdin: str = "") -> str:
        """What it says of what it does not do, on stderr alone."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stderr.startswith("xds-server: ") or code == 2, done.stderr
        return done.stderr.removeprefix("xds-server: ").rstrip("\n")

    @contextmanager
    def terminal(self, *args: object, width: int = 150) -> Iterator[Terminal]:
        """On a terminal of its own, for as long as the block lasts."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        env = {**self.env, "TERM": "xterm-256color"}
        process = subprocess.Popen([*COMMAND, *map(str, args)], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


class Terminal:
    """A command on a terminal, and all that it has drawn."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self._process, self._end = process, end
        self.raw = ""

    @property
    def text(self) -> str:
        """Without colours and the like."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    def until(self, *texts: str, within: float = 30) -> None:
        """Read on until all of `texts` have been drawn."""
        deadline = time.monotonic() + within
        while not all(text in self.text for text in texts):
            assert time.monotonic() < deadline, f"no {texts} in {self.text}"
            assert self._read(deadline), f"it ended without {texts}: {self.text}"

    def mark(self) -> None:
        """Forget what was drawn so far."""
        self.raw = ""

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read(time.monotonic() + 30):
            pass
        return self._process.wait(30)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._end, 65_536) if ready else b""
        except OSError:  # how a terminal ends whose other side has gone
            data = b""
        self.raw += data.decode(errors="replace")
        return bool(data)
