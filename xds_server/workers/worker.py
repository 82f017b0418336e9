"""A worker: serves streams what the manager tells it, and tells what becomes of it. It ends when the manager does.

It ends as on SIGTERM: it takes no new streams, and those that are open end spread over the time to drain. So no two generations
of a server listen on one port, and who started the server can start it again at once.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from xds_server import log as logging
from xds_server.delivery.audience import EVERYONE
from xds_server.fleet import Commit, Fleet
from xds_server.fleet.telling import Telling
from xds_server.pem_files import PemError
from xds_server.security.node_names import node_rule
from xds_server.security.tls import Certificates
from xds_server.workers import frames, frames_pb2, messages
from xds_server.workers.grouping import Grouping
from xds_server.workers.options import Options
from xds_server.xds import AddressInUseError, DiscoveryServer, Event, Node, Resource

ALIVE: Final = 2.0
"""Seconds after which something is said in any case."""
PAUSE: Final = 0.02
"""Seconds between two words."""
PER_NODE: Final = 0.004
"""Seconds for which nothing is told of nodes, for each that was: it costs this and the manager's process some 0.1 ms."""
FIGURES: Final = 1.0
"""Seconds between two times that figures are told."""
MOST_EVENTS: Final = 10_000
"""Events that are kept while the manager does not read."""
GRACE: Final = 5.0
"""Seconds beyond the time to drain after which a worker without a manager is gone, whatever it does."""
MANY: Final = 1_000
"""Resources in one step that are worth telling the garbage collector of."""
_LOGGED: Final = frozenset({"opened", "closed", "rejected", "refused", "quarantined", "released", "oversized"})
"""Events that are worth a line at any level."""

log = structlog.get_logger("worker")


class Worker:
    """A discovery server, with the manager in place of a publisher."""

    def __init__(self, options: Options, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._options, self._reader, self._writer = options, reader, writer
        self._grouping = Grouping()
        self._server = DiscoveryServer(
            self._group_of,
            authorize=node_rule(options, options.http_address),
            identifier=options.identifier,
            limits=options.limits,
            history=self._look_back,
            observe=self._note,
        )
        self._fleet = Fleet(self._server)
        self._telling = Telling(self._fleet, "", ALIVE, rest=lambda nodes: PER_NODE * nodes)
        self._port = 0
        self._due = asyncio.Event()
        self._telling.unshared.ring = self._due.set
        self._events: deque[Event] = deque()
        self._lost = 0
        self._is_told_all = options.log_level == "debug"
        self._figures_due = 0.0
        self._numbers = count(1)
        self._questions: dict[int, asyncio.Future[Resource | None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, or the end of the manager. Raises AddressInUseError, ValueError and PemError."""
        certificates = self._certificates()
        credentials = None
        if certificates is not None:
            credentials = certificates.grpc_credentials(require_client=bool(self._options.client_ca))
        port = await self._server.start(self._options.address, credentials, shares_port=True)
        self._port = port
        self._say(frames_pb2.Listening(port=port))
        work = [self._hear(), self._tell(), stop.wait()]
        if certificates is not None:
            work.append(certificates.run())
        tasks = [asyncio.ensure_future(each) for each in work]
        done, _ = await asyncio.wait({tasks[0], *tasks[2:]}, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0] in done and isinstance(tasks[0].exception(), EOFError):
            log.warning("worker.alone", detail="the process that leads this one is gone: all streams end")
        await self._server.stop()
        for task in tasks:
            task.cancel()
        for failed in (each for each in await asyncio.gather(*tasks, return_exceptions=True)):
            if isinstance(failed, Exception) and not isinstance(failed, EOFError | ConnectionError):
                raise failed
        with suppress(ConnectionError):
            await self._say_all()

    def _certificates(self) -> Certificates | None:
        options = self._options
        if not options.cert:
            return None
        return Certificates(Path(options.cert), Path(options.key), options.tls_client_ca)

    # What the manager says

    async def _hear(self) -> None:
        while True:
            message: Any = await frames.read(self._reader)
            if isinstance(message, frames_pb2.Update):
                self._update(message)
            elif (asked := self._questions.get(message.number)) is not None and not asked.done():
                asked.set_result(messages.resource(message.resource) if message.HasField("resource") else None)

    def _update(self, update: frames_pb2.Update) -> None:
        regroup = update.HasField("selectors")
        if regroup:
            self._grouping.select({each.key: each.by_place for each in update.selectors.selectors})
        committed_at = update.committed_at if update.HasField("committed_at") else None
        was_serving = self._server.serving
        is_revision = update.revision >= 0
        with self._fleet.published(Commit(update.revision, committed_at)) if is_revision else nullcontext():
            for step in update.steps:
                self._serve(step)
            if regroup:
                self._server.regroup()
        if self._server.serving and not was_serving:
            self._say(frames_pb2.Listening(port=self._port, is_serving=True))
        if regroup:
            self._server.drop_groups(keep={EVERYONE.name})
            if gone := self._grouping.keep(self._server.groups):
                self._say(frames_pb2.Drop(groups=gone))

    def _serve(self, step: frames_pb2.Step) -> None:
        if not self._grouping.has(step.group):
            return  # it was dropped while this was on its way
        with _collector_paused() if len(step.upsert) >= MANY else nullcontext():
            snapshot = messages.applied(step, self._server.snapshot(step.group))
            if snapshot is not None:
                self._server.set_snapshot(snapshot, step.group)

    # What it asks

    def _group_of(self, node: Node) -> str:
        name = self._grouping.group_of(node)
        for group in self._grouping.take_news():
            self._say(messages.want(group))
        return name

    async def _look_back(self, group: str, refused: Resource) -> Resource | None:
        number = next(self._numbers)
        asked: asyncio.Future[Resource | None] = asyncio.get_running_loop().create_future()
        self._questions[number] = asked
        about = frames_pb2.Resource(type_url=refused.type_url, name=refused.name, version=refused.version)
        self._say(frames_pb2.Question(number=number, group=group, refused=about))
        try:
            return await asked
        finally:
            del self._questions[number]

    # What it tells

    def _note(self, event: Event) -> None:
        if event.kind in _LOGGED or self._is_told_all:
            if len(self._events) < MOST_EVENTS:
                self._events.append(event)
            else:
                self._lost += 1
            self._due.set()

    async def _tell(self) -> None:
        with suppress(ConnectionError):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE):
                        await self._due.wait()
                self._due.clear()
                await self._say_all()
                await self._writer.drain()
                await asyncio.sleep(PAUSE)
                if self._telling.unshared:
                    self._due.set()

    async def _say_all(self) -> None:
        if self._events or self._lost:
            events, self._events = self._events, deque()
            lost, self._lost = self._lost, 0
            self._say(frames_pb2.Events(events=map(messages.event_message, events), lost=lost))
        if (word := await self._telling.word()) is not None:
            self._say(messages.word_message(word))
        now = asyncio.get_running_loop().time()
        if now >= self._figures_due:
            self._figures_due = now + FIGURES
            self._say(messages.figures_message(self._fleet.metrics.counted()))

    def _say(self, message: Any) -> None:
        self._writer.write(frames.encode(message))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """What is made in the block is there to stay, and nothing in it refers to itself: see `app`."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_with_parent(grace: float) -> None:
    """End this process, also one that hangs, so many seconds after the one that started it: it would hold the port."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


async def _run(end: socket.socket) -> str:
    """Returns what is wrong; empty for nothing."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    reader, writer = await asyncio.open_connection(sock=end)
    try:
        start = await frames.read(reader)
    except EOFError:
        return ""
    options = Options.decode(start.options)
    end_with_parent(options.drain_time + GRACE)
    logging.configure(options.log_format, options.log_level, worker=options.number)
    try:
        await Worker(options, reader, writer).run(stop)
    except (AddressInUseError, PemError, ValueError) as error:
        writer.write(frames.encode(frames_pb2.Listening(problem=str(error))))
        with suppress(ConnectionError):
            await writer.drain()
        return str(error)
    finally:
        writer.close()
    return ""


def main() -> None:
    """Entry point: the number of the inherited socket is the argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the manager
    end = socket.socket(fileno=int(sys.argv[1]))
    sys.exit(1 if asyncio.run(_run(end)) else 0)
