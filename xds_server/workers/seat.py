"""One worker as the manager sees it, from process to process: told what to serve, heard, and replaced when it dies."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from xds_server.delivery.publisher import Publisher
from xds_server.fleet import NodeStatus, Part, Progress
from xds_server.fleet.words import node, rollout
from xds_server.workers import frames, frames_pb2, messages
from xds_server.workers.backoff import Backoff
from xds_server.workers.frames import TooLongError
from xds_server.workers.mirror import Mirror
from xds_server.workers.options import Options
from xds_server.workers.outbox import Outbox
from xds_server.workers.process import WorkerProcess
from xds_server.xds import Event
from xds_server.xds.resource import Resource

SILENT: Final = 30
"""Seconds of silence after which a worker hangs and is killed; it says something every 2 s."""
AT_ONCE: Final = 50
"""Nodes that are taken in before others have the event loop: some 2 ms."""

log = structlog.get_logger("workers")


class WorkerDiedError(Exception):
    """A worker ended before it listened, or cannot listen. The text says how."""


class Seat:
    """Keeps one worker."""

    def __init__(
        self,
        number: int,
        mirror: Mirror,
        publisher: Publisher,
        options: asyncio.Future[Options],
        tell: Callable[[Event, int], None],
        changed: Callable[[], None],
    ) -> None:
        """`number`: from 1. `options`: of the worker, once they are known. `tell`: of what happens on its streams. `changed`:
        called when `part` is another one."""
        self.number = number
        self.part: Part | None = None
        """What the worker that runs now tells of its part of the fleet."""
        self.listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The port on which the first worker listens."""
        self._mirror, self._publisher, self._options = mirror, publisher, options
        self._tell, self._changed = tell, changed
        self._process: WorkerProcess | None = None
        self._stopping = asyncio.Event()
        self._heard = False
        self._questions: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Have a worker, until one ends that was told to."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            how = await self._one()
            if not self.listening.done():
                self.listening.set_exception(WorkerDiedError(how))
            if self._stopping.is_set():
                return
            pause = backoff.pause(loop.time() - began)
            log.error("worker.died", worker=self.number, problem=how, again_in=f"{pause:g}s")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    def terminate(self) -> None:
        """Have the worker drain, and no other one follow it."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()

    async def _one(self) -> str:
        """One worker, from start to end; returns how it ended."""
        try:
            process = self._process = await WorkerProcess.spawn()
        except OSError as error:
            return f"no process can be started: {error}"
        if self._stopping.is_set():  # meanwhile
            process.terminate()
        log.info("worker.started", worker=self.number, pid=process.pid)
        outbox = self._mirror.join()
        self.part = Part(f"worker {self.number}")
        self._changed()
        work = [asyncio.create_task(self._send(process, outbox)), asyncio.create_task(self._watch(process))]
        problem = ""
        try:
            await self._hear(process, outbox)
        except WorkerDiedError as error:
            problem = str(error)
        except EOFError:
            problem = next((str(task.exception()) for task in work if task.done() and task.exception()), "")
        except Exception:
            log.exception("worker.not_understood", worker=self.number)
            problem = "what it says is not understood"
        finally:
            for task in (*work, *self._questions):
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._mirror.leave(outbox)
            how = await process.ended()
            self._process, self.part = None, None
            self._publisher.fleet.metrics.end(str(self.number))
            self._changed()
        return problem or how

    async def _send(self, process: WorkerProcess, outbox: Outbox) -> None:
        options = await asyncio.shield(self._options)
        process.writer.write(frames.encode(frames_pb2.Start(options=options.encode())))
        due = asyncio.Event()
        due.set()
        outbox.ring = due.set
        with suppress(ConnectionError):
            while True:
                await due.wait()
                due.clear()
                while (frame := self._next(process, outbox)) is not None:
                    process.writer.write(frame)
                    await process.writer.drain()

    def _next(self, process: WorkerProcess, outbox: Outbox) -> bytes | None:
        """What to write next. Raises WorkerDiedError: who is not told something would serve what was before for ever."""
        try:
            frame = outbox.next()
            return frame.encode() if frame is not None else None
        except Exception as error:
            process.kill()
            if not isinstance(error, TooLongError):
                log.exception("worker.not_told", worker=self.number)
            raise WorkerDiedError(f"it cannot be told what to serve: {error}") from error

    async def _watch(self, process: WorkerProcess) -> None:
        """Ticks are counted, not time: where everything stood still, as in a machine that slept, that was nobody's fault."""
        silent = 0
        while silent < SILENT:
            await asyncio.sleep(1)
            silent = 0 if self._heard or not self._options.done() else silent + 1
            self._heard = False
        process.kill()
        raise WorkerDiedError(f"it hung: it said nothing for {SILENT} s, and was killed")

    async def _hear(self, process: WorkerProcess, outbox: Outbox) -> None:
        while True:
            message: Any = await frames.read(process.reader)
            self._heard = True
            match message:
                case frames_pb2.Word():
                    await self._take(message)
                case frames_pb2.Figures():
                    self._publisher.fleet.metrics.add(str(self.number), messages.figures(message))
                case frames_pb2.Events():
                    self._note(message)
                case frames_pb2.Want():
                    group = messages.wanted(message)
                    outbox.want(group.name)
                    self._publisher.want(group)
                case frames_pb2.Drop():
                    for name in message.groups:
                        outbox.drop(name)
                    self._publisher.release(message.groups)
                case frames_pb2.Question():
                    task = asyncio.create_task(self._answer(message, outbox))
                    self._questions.add(task)
                    task.add_done_callback(self._questions.discard)
                case frames_pb2.Listening():
                    if message.problem:
                        raise WorkerDiedError(message.problem)
                    outbox.is_serving = message.is_serving
                    if not self.listening.done():
                        self.listening.set_result(message.port)

    def _note(self, message: frames_pb2.Events) -> None:
        for each in message.events:
            self._tell(messages.event(each), self.number)
        if message.lost:
            log.warning("worker.events_lost", worker=self.number, events=message.lost)

    async def _answer(self, question: frames_pb2.Question, outbox: Outbox) -> None:
        named = (question.refused.type_url, question.refused.name)
        found = None
        try:
            refused = Resource.encode(*named, b"", version=question.refused.version)
            found = await self._publisher.look_back(question.group, refused)
        except Exception:
            log.exception("what a rejected resource was before is not known")
        resource = messages.resource_message(found) if found is not None else None
        outbox.answer(frames_pb2.Found(number=question.number, resource=resource))

    async def _take(self, word: frames_pb2.Word) -> None:
        part, fleet = self.part, self._publisher.fleet
        assert part is not None
        nodes: list[NodeStatus] = []
        for number, body in enumerate(word.nodes, 1):
            if (status := node(body)) is not None:
                nodes.append(status)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        rollouts: list[Progress] = [each for body in word.rollouts if (each := rollout(body)) is not None]
        is_news = bool(nodes or rollouts or part.delivered != word.delivered)
        part.delivered, part.forgotten = word.delivered, word.forgotten
        part.take(nodes, rollouts)
        if nodes:
            part.forget(fleet.workers.remembered_since)
        if is_news:
            fleet.workers_told([status.id for status in nodes], [each.revision for each in rollouts])
