"""One worker as a process: started, spoken to, ended."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from typing import Final

PROGRAM = "from xds_server.workers.worker import main; main()"
"""What a worker runs. Another one may wrap it."""
PATIENCE: Final = 2.0
"""Seconds in which a process whose socket is closed must have ended."""


class WorkerProcess:
    """A running one."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self.reader, self.writer = reader, writer

    @classmethod
    async def spawn(cls) -> "WorkerProcess":
        """Start one. It waits for its first word."""
        ours, theirs = socket.socketpair()
        try:
            # A fresh interpreter, never a fork: gRPC's threads live here. A session of its own, so that Ctrl-C reaches only us.
            # Nobody else can connect to the socket: it has no name, and only this child inherits its other end.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno())),
                stdin=DEVNULL,
                stdout=DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        # What is written waits in the kernel, or here until that took all of it: there is never more than one message here.
        writer.transport.set_write_buffer_limits(high=0)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def terminate(self) -> None:
        """Ask it to drain."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> str:
        """Let it end, for whatever reason; returns how it did."""
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._process.wait()
        except TimeoutError:
            self.kill()
            status = await self._process.wait()
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"


def _environment() -> dict[str, str]:
    """All but our options, which it is told: the store's password is none of its business."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XDS_SERVER_", "PG"))}
    return {**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
