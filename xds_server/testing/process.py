"""A real Envoy as a child process."""

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from xds_server.bootstrap import Bootstrap, render
from xds_server.envoy_binary import find_envoy
from xds_server.testing.admin import EnvoyAdmin
from xds_server.testing.child import ChildProcess, end


class EnvoyProcess(ChildProcess, EnvoyAdmin):
    """Runs Envoy for as long as the `with` block does; on leaving it, process and temporary files are gone.

        with EnvoyProcess(Bootstrap(node_id="edge-1", xds_address="127.0.0.1:18000", static_listener=0)) as envoy:
            envoy.wait_for_cluster("payments")
            port = envoy.listener_port("static")

    `bootstrap` is what Envoy starts with, as options or as YAML or JSON text; its admin port is replaced by a free one.
    `args` are further arguments of Envoy, and may repeat ours to replace them (`-l debug`). `binary`: default
    `find_envoy()`. An exception that leaves the block carries the end of Envoy's log as a note.
    """

    def __init__(
        self, bootstrap: str | Bootstrap, *, args: Sequence[str] = (), binary: Path | None = None, timeout: float = 20
    ) -> None:
        """`timeout`: seconds that the start may take."""
        self._config = with_admin(bootstrap, "127.0.0.1:0")
        self._args = tuple(args)
        self._binary = binary
        self._timeout = timeout
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._admin_url = ""
        self._log = ""

    def start(self) -> None:
        """Start Envoy and wait for its admin interface.

        Raises EnvoyNotFoundError, RuntimeError with Envoy's log when it refuses the bootstrap, and TimeoutError. After
        any of these nothing is left running. Envoy may not have its configuration from the control plane yet.
        """
        if self._process is not None:
            raise RuntimeError("this Envoy is running already")
        binary = self._binary or find_envoy()
        self._directory = tempfile.TemporaryDirectory(prefix="envoy-")
        directory = Path(self._directory.name)
        config, address = directory / "bootstrap.json", directory / "admin-address"
        config.write_text(json.dumps(self._config), encoding="utf-8")
        command: list[str | Path] = [binary, "-c", config, "--admin-address-path", address, "--concurrency", "1"]
        command += ["--disable-hot-restart", "-l", "warning", *self._args]
        try:
            with self._log_path.open("wb") as log:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            # Envoy makes the file first and writes it then.
            self.wait_until(lambda: address.read_text(encoding="utf-8"), self._timeout, "Envoy's admin address")
            self._admin_url = f"http://{address.read_text(encoding='utf-8')}"
            self.wait_until(lambda: self.admin("/server_info"), self._timeout, "Envoy's admin interface")
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 5) -> None:
        """End Envoy with SIGTERM, with SIGKILL after `timeout` seconds. Its log can still be read. Harmless twice."""
        process, self._process = self._process, None
        try:
            if process is not None:
                end(process, timeout)
        finally:
            if self._directory is not None:
                self._log = self._read_log()
                self._directory.cleanup()
                self._directory = None

    def kill(self) -> None:
        """End Envoy at once with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    @property
    def admin_url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises RuntimeError when Envoy is not running."""
        self._running()
        return self._admin_url

    @property
    def log(self) -> str:
        """All that Envoy has logged since its last start, also after it was stopped."""
        return self._log if self._directory is None else self._read_log()

    @property
    def _log_path(self) -> Path:
        assert self._directory is not None
        return Path(self._directory.name, "envoy.log")

    def _read_log(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(self.log_tail())


def with_admin(bootstrap: str | Bootstrap, address: str) -> dict[str, object]:
    """A bootstrap as data, with its admin interface on `address` (`ADDRESS:PORT`).

    Raises ValueError for text that is no YAML mapping.
    """
    if isinstance(bootstrap, Bootstrap):
        loaded = yaml.safe_load(render(dataclasses.replace(bootstrap, admin_address=address)))
    else:
        try:
            loaded = yaml.safe_load(bootstrap)
        except yaml.YAMLError as error:
            raise ValueError(f"the bootstrap is not YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise ValueError("the bootstrap is not a mapping: give the text of a file, not its path")
    host, _, port = address.rpartition(":")
    return {**loaded, "admin": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
