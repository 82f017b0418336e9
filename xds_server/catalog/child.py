"""The server's side of the child process in `worker`: start it, tell it what is in force, take what it finds."""

import asyncio
import gc
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

import structlog

from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.kept import read_apart, targets_of
from xds_server.catalog.reader import Scan
from xds_server.catalog.worker import LENGTH, PART, Notice, Start, encode
from xds_server.upstreams.model import Gateway, Located, Placed, Upstream

LARGE: Final = 10
"""Parts from which a change is a large one."""

log = structlog.get_logger("definitions")


class ReaderDiedError(Exception):
    """The reading process ended; the text says how."""


class Child:
    """A running reader."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def start(self, roots: tuple[str, ...], held: Definitions | None) -> None:
        """Have it watch `roots`, going on from what is in force; None when nothing ever was. Raises ReaderDiedError."""
        try:
            if held is not None:
                for part in Change(held.upstreams, gateways=held.gateways).parts(PART, targets_of):
                    self._input.write(await asyncio.to_thread(_encoded, part))
                    await self._input.drain()
            self._input.write(encode(Start(roots, held is not None)))
            await self._input.drain()
        except ConnectionError as error:
            raise await self._died() from error

    async def next_scan(self) -> Scan:
        """Wait for the next look that found something new. Raises ReaderDiedError."""
        upstreams, gateways = dict[str, Located[Upstream]](), dict[str, Located[Gateway]]()
        removed_upstreams = removed_gateways = frozenset[str]()
        parts = 0
        with ExitStack() as stack:
            while not isinstance(message := await self._receive(), Scan):
                if isinstance(message, Notice):
                    log.warning(message.event, problem=message.problem)
                    continue
                upstreams.update(message.upstreams)
                gateways.update(message.gateways)
                removed_upstreams |= message.removed_upstreams
                removed_gateways |= message.removed_gateways
                parts += 1
                if parts == LARGE:
                    stack.enter_context(_collector_paused())
        return replace(message, change=Change(upstreams, removed_upstreams, gateways, removed_gateways))

    async def _receive(self) -> Change | Scan | Notice:
        try:
            length = await self._output.readexactly(LENGTH)
            body = await self._output.readexactly(int.from_bytes(length, "big"))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._died() from error
        # In a thread, as one part may be one upstream with 10,000 targets: the interpreter changes threads every 5 ms.
        message: Change | Scan | Notice = await asyncio.to_thread(pickle.loads, body)
        return message

    async def _died(self) -> ReaderDiedError:
        status = await self._process.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return ReaderDiedError(f"the process that reads definition files {how}")


@asynccontextmanager
async def running_child() -> AsyncIterator[Child]:
    """A child that is gone when the context ends."""
    # A fresh interpreter, never a fork: gRPC's threads live here. A session of its own, so that Ctrl-C reaches only us.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", "from xds_server.catalog.worker import main; main()"),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _encoded(part: Change) -> bytes:
    """With models, wherever they are kept otherwise."""
    upstreams = {name: Placed(each.source, each.line, read_apart(each)) for name, each in part.upstreams.items()}
    gateways = {name: Placed(each.source, each.line, read_apart(each)) for name, each in part.gateways.items()}
    return encode(Change(upstreams, gateways=gateways))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's cycle collector away from many new objects that hold no cycles, now and later.

    Measured for 100,000 targets: it stops the program for 270 ms at a time, and doubles the time to take them. Frozen
    objects are still freed when nothing refers to them any more; what is garbage is collected first, to not be kept.
    """
    if not gc.isenabled():  # then the program has its own ideas
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
