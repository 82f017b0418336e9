"""A real PostgreSQL for tests: Debian's, on loopback, with its data in a temporary directory, and durable as in production."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from rig import free_port

USER = "xds"


def programs() -> Path | None:
    """Where its newest version's programs are; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """One server. It refuses to run as root, so root starts it as `nobody`."""

    def __init__(self, programs: Path) -> None:
        self._bin = programs
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._directory / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
            options = ["--auth", "trust", "--username", USER, "--encoding", "UTF8", "--locale", "C", "--no-sync"]
            made = subprocess.run(
                self._command("initdb", "--pgdata", self._data, *options), capture_output=True, text=True, cwd="/"
            )
            assert made.returncode == 0, made.stderr
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start it, on the port that it always has, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": self.port, "fsync": "on"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", self._data, *arguments), stdout=log, stderr=log, cwd="/"
            )
        end = time.monotonic() + 30
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError(f"{error}\n{self.log}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an administrator does who waits for nobody: connections are closed, what is committed is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """As a power cut would end it."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def suspend(self) -> None:
        """Have it stand still: it takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for pid in [self._process.pid, *map(int, children.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def run(self, statement: str, *parameters: Any, database: str = "postgres") -> list[Any]:
        """The rows of one statement, committed."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True, connect_timeout=5
        ) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def database(self) -> str:
        """URL of a new, empty database."""
        self._databases += 1
        name = f"store_{self._databases}"
        self.run(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    def _command(self, program: str, *arguments: object) -> Sequence[str]:
        command = [str(self._bin / program), *map(str, arguments)]
        if os.geteuid() == 0:
            return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        return command
