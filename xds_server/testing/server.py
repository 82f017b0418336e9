"""The control plane as a child process, as users run it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from xds_server.testing.api import ManagementApi
from xds_server.testing.child import ChildProcess, end

_VARIABLES: Final = "XDS_SERVER_"
"""What the variables begin with that are options of `serve`."""


class XdsServerProcess(ChildProcess, ManagementApi):
    """Runs `xds-server serve` on definition files for as long as the `with` block does.

        with XdsServerProcess(tmp_path / "definitions") as server:
            bootstrap = Bootstrap(node_id="edge-1", xds_address=server.xds_address)

    `definitions`: a file or directory, or several. `xds_address`: default any free port on loopback. `args`: further
    options of `serve`. `ready`: wait until definitions are served (else only until the port is open). `store`: where it keeps
    revisions; default a file of its own, which it finds again on `restart` and which goes with the `with` block.
    `environment`: its variables; default those of this process, whose `XDS_SERVER_…` are options of it too
    (`plain_environment()` has none of these).
    """

    command: ClassVar[Sequence[str]] = (sys.executable, "-m", "xds_server")
    """What runs `xds-server`, before its arguments. Another one may wrap it."""

    def __init__(
        self,
        *definitions: Path,
        xds_address: str = "127.0.0.1:0",
        http_address: str = "127.0.0.1:0",
        grpc_address: str = "127.0.0.1:0",
        args: Sequence[str] = (),
        store: str | None = None,
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
        timeout: float = 30,
    ) -> None:
        """`timeout`: seconds that the start may take."""
        self._definitions, self._args = definitions, tuple(args)
        self._wanted = {"xds_address": xds_address, "http_address": http_address, "grpc_address": grpc_address}
        self._environment = environment
        self._ready, self._timeout = ready, timeout
        self._directory = tempfile.TemporaryDirectory(prefix="xds-server-")
        self.store = store or f"sqlite:///{self._directory.name}/store.db"
        """URL of its store."""
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.xds_address = ""
        """Where it listens: host:port."""
        self.http_address = ""
        """Where the API, REST pollers and health checks connect: host:port."""
        self.grpc_address = ""
        """Where the API over gRPC is: host:port."""

    def start(self) -> Self:
        """Start it. Raises RuntimeError with its log when it ends instead, and TimeoutError; nothing then runs on."""
        command = [*self.command, "serve", "--log-format", "json"]
        command += ["--store", self.store]
        for name, address in self._wanted.items():
            command += [f"--{name.replace('_', '-')}", address]
        for path in self._definitions:
            command += ["--definitions", str(path)]
        # Not the caller's directory: a store or a stray `xds_server` there must not be picked up.
        self._process = subprocess.Popen(
            [*command, *self._args],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
            env=self._environment,
            start_new_session=True,
        )
        self._lines = []
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self.wait_for_event("server.started", self._timeout)
            started = self.events("server.started")[0]
            self.xds_address, self.http_address = started["xds_address"], started["http_address"]
            self.grpc_address = started["grpc_address"]
            if self._ready:
                self.wait_for_event("server.ready", self._timeout)
        except BaseException:
            self.kill()
            raise
        return self

    def restart(self) -> None:
        """Start it again, at the addresses that it had."""
        self.kill()
        self._wanted = {name: getattr(self, name) or wanted for name, wanted in self._wanted.items()}
        self.start()

    def stop(self, timeout: float = 10) -> int:
        """SIGTERM, and wait; returns the exit code. Raises TimeoutError (it is then killed)."""
        if self._process is None:
            return 0
        process = self._process
        graceful = end(process, timeout)
        self.kill()
        if not graceful:
            raise TimeoutError(f"xds-server did not stop within {timeout:g} s of SIGTERM\n{self.log}")
        return process.returncode

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stderr is not None
            if self._reader is not None:
                self._reader.join()
            process.stderr.close()

    @property
    def log(self) -> str:
        """Everything that it logged since its last start."""
        return "\n".join(self._lines)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Its log as data; `name`: only these events, for example ``definitions.broken``."""
        found = []
        for line in list(self._lines):
            if line.startswith("{"):
                event = json.loads(line)
                if not name or event.get("event") == name:
                    found.append(event)
        return found

    def wait_for_event(self, name: str, timeout: float = 10, count: int = 1) -> dict[str, Any]:
        """Wait until it logged `name` `count` times; returns the last. Raises TimeoutError, RuntimeError when it ended."""
        self.wait_until(lambda: len(self.events(name)) >= count, timeout, f"{count} x {name} in the log")
        return self.events(name)[-1]

    def wait_until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Wait for a condition of the caller's. Raises as `wait_for_event` does."""
        end = time.monotonic() + timeout
        while not condition():
            if self._process is None or self._process.poll() is not None:
                if self._reader is not None:
                    self._reader.join(1)
                if condition():
                    return
                raise RuntimeError(f"xds-server ended while waiting for {what}:\n{self.log}")
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} after {timeout:g} s:\n{self.log}")
            time.sleep(0.01)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        lines = self._lines
        for line in process.stderr:
            lines.append(line.decode(errors="replace").rstrip("\n"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"xds-server's log:\n{self.log}")
        try:
            if self._process is not None:
                self.stop()
        finally:
            self.kill()
            self._directory.cleanup()


def plain_environment() -> dict[str, str]:
    """The variables of this process without those that are options of `xds-server`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
