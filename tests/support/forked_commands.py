"""Runs `xds-server` commands without the second that Python takes to import them: a process that has done so, and forks.

What runs is the entry point itself, in a process of its own, with its own stdin, stdout, stderr, environment and exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

_LONGEST = 1_000_000


class ForkedCommands:
    """One process that forks, for as long as the object lives."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()

    def run(
        self, args: Sequence[str], env: Mapping[str, str], stdin: str = "", within: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` does with text. Raises TimeoutError."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            message = json.dumps({"args": [*args], "env": dict(env)}).encode()
            socket.send_fds(self._ours, [message], [file.fileno() for file in (given, out, err)])
            self._ours.settimeout(within)
            code = int(self._ours.recv(64))
            return subprocess.CompletedProcess(list(args), code, _text(out), _text(err))

    def close(self) -> None:
        self._ours.close()
        self._process.wait(10)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()


def _serve(theirs: socket.socket) -> None:
    # Everything that commands import late, too: some of it with the first request.
    import rich.live
    import rich.table
    import typer

    from xds_server import log
    from xds_server.cli import commands, written
    from xds_server.cli.client import Client
    from xds_server.cli.errors import CommandError

    typer.main.get_command(commands.app)
    with contextlib.suppress(CommandError), Client("http://127.0.0.1:1") as client:
        client.get("nothing")
    del rich, log, written
    while True:
        message, fds, _, _ = socket.recv_fds(theirs, _LONGEST, 3)
        if not message:
            return
        child = os.fork()
        if child == 0:
            _run(theirs, json.loads(message), fds)
        for fd in fds:
            os.close(fd)
        theirs.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _run(theirs: socket.socket, message: dict[str, object], fds: list[int]) -> None:
    from xds_server.cli import main

    theirs.close()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.environ.clear()
    os.environ.update(message["env"])  # type: ignore[call-overload]
    sys.argv = ["xds-server", *message["args"]]  # type: ignore[misc]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking apart what was imported would take most of the time


if __name__ == "__main__":
    # Of the checkout that it is in, as `python -m xds_server` there.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    _serve(socket.socket(fileno=int(sys.argv[1])))
