"""The load client's process: thousands of streams on one thread, told on its standard input what to do.

One JSON object a line in, and one a line out for each:

    {"do": "open", "streams": 100, "names": [...], "variant": "delta"}   until all of them are full
    {"do": "expect", "answers": 1}      at once `{}`, and once each stream had so many answers about endpoints, a second line
    {"do": "track", "streams": 10, "above": 2}  note the number of each update that arrives (see `LoadStream.arrived`)
    {"do": "state"}                     what arrived, and whether all streams hold the same
    {"do": "close"}                     all streams

Times are those of the monotonic clock, which all processes of a machine share.
"""

import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.discovery import ENDPOINTS, Asker
from benchmarks.load_stream import LoadStream

INPUT: Final = 0


class LoadClient:
    """Runs the streams."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._epoll.register(INPUT, select.EPOLLIN)
        self._streams: list[LoadStream] = []
        self._by_descriptor: dict[int, LoadStream] = {}
        self._awaited: set[LoadStream] = set()
        """Those that are not yet as `_is_done` wants them."""
        self._is_done: Callable[[LoadStream], bool] = bool
        self._input = b""
        self._commands: list[dict[str, Any]] = []
        self._held: dict[str, str] = {}
        self._ended = False
        self._does: dict[str, Callable[..., dict[str, Any]]] = {
            "open": self._open,
            "expect": self._expect,
            "track": self._track,
            "state": self._state,
            "close": self._close,
        }

    def run(self) -> None:
        """Until the input ends."""
        while not self._ended:
            self._turn(None)
            while self._commands:
                command = self._commands.pop(0)
                _say(self._does[command.pop("do")](**command))

    def _turn(self, timeout: float | None) -> None:
        for descriptor, _ in self._epoll.poll(timeout):
            if descriptor == INPUT:
                self._listen()
                continue
            stream = self._by_descriptor[descriptor]
            stream.readable()
            self._watch(stream)
            if stream in self._awaited and self._is_done(stream):
                self._awaited.remove(stream)

    def _watch(self, stream: LoadStream) -> None:
        """Have the kernel tell what is of interest, and only when that has changed."""
        interest = 0 if stream.problem else select.EPOLLIN | (0 if stream.write() else select.EPOLLOUT)
        if interest != stream.interest:
            stream.interest = interest
            self._epoll.modify(stream.socket, interest)

    def _listen(self) -> None:
        data = os.read(INPUT, 1 << 20)
        self._ended |= not data
        *lines, self._input = (self._input + data).split(b"\n")
        self._commands += [json.loads(line) for line in lines]

    def _await(self, streams: list[LoadStream], is_done: Callable[[LoadStream], bool]) -> None:
        self._is_done = is_done
        self._awaited = {stream for stream in streams if not is_done(stream)}

    def _until(self, most: int, timeout: float) -> list[LoadStream]:
        """Until no more than `most` are awaited, or in vain; returns those."""
        end = time.monotonic() + timeout
        while len(self._awaited) > most and not self._ended and (left := end - time.monotonic()) > 0:
            self._turn(left)
        return [*self._awaited]

    # Commands

    def _open(
        self,
        streams: int,
        names: list[str],
        variant: Any = "delta",
        over: float = 0.0,
        clusters: int = 1,
        returning: bool = False,
        timeout: float = 300,
    ) -> dict[str, Any]:
        """`over`: seconds in which they come. `clusters`: of the nodes, in turn: `cluster-0` and so on; each asks for its share
        of the names. `returning`: with the versions that the streams before had."""
        begun, cpu = time.monotonic(), time.process_time()
        askers = [Asker(variant, names[part::clusters]) for part in range(clusters)]
        held = self._held if returning else {}
        opened = []
        for number in range(streams):
            while (left := begun + over * number / streams - time.monotonic()) > 0:
                self._turn(left)
            part = number % clusters
            stream = LoadStream(
                self._address, askers[part], f"load-{number}", f"cluster-{part}", held, closely=number == 0
            )
            opened.append(stream)
            self._streams.append(stream)
            self._by_descriptor[stream.socket.fileno()] = stream
            self._epoll.register(stream.socket, stream.interest)
            self._watch(stream)
            self._turn(0)
        last = time.monotonic()
        self._await(opened, lambda stream: stream.is_full)
        self._until(0, timeout)
        self._held = opened[0].cluster_versions or self._held
        return {
            **self._figures(opened, cpu),
            "full": sum(stream.full_at is not None for stream in opened),
            "first_full": [stream.full_at - stream.asked_at for stream in opened if stream.full_at is not None],
            "seconds": max((stream.full_at or 0.0) for stream in opened) - begun,
            "after_last": max((stream.full_at or 0.0) for stream in opened) - last,
        }

    def _expect(self, answers: int = 1, timeout: float = 30, of: int | None = None) -> dict[str, Any]:
        """`of`: how many streams are concerned; default all."""
        cpu = time.process_time()
        for stream in self._streams:
            stream.reset()
        before = sum(s.bytes_in for s in self._streams), sum(s.messages for s in self._streams)
        wanted = len(self._streams) if of is None else of
        self._await(self._streams, lambda stream: stream.answers[ENDPOINTS] >= answers or bool(stream.problem))
        _say({})
        awaited = {*self._until(len(self._streams) - wanted, timeout)}
        done = [stream for stream in self._streams if stream not in awaited and not stream.problem]
        found = {(name, stream.versions.get(name, "")) for stream in done for name in stream.names}
        figures = self._figures(self._streams, cpu)
        return {
            **figures,
            "bytes_in": figures["bytes_in"] - before[0],
            "messages": figures["messages"] - before[1],
            "acknowledged_at": sorted(stream.acknowledged_at for stream in done),
            "resources": sorted(found),
            "missing": wanted - len(done),
        }

    def _track(self, streams: int, above: int) -> dict[str, Any]:
        for stream in self._streams:
            stream.versions.clear()
        for stream in self._streams[:streams]:
            stream.arrived, stream.above = [], above
        return {}

    def _state(self) -> dict[str, Any]:
        arrived = [stream.arrived for stream in self._streams if stream.arrived is not None]
        states = {tuple(sorted(stream.versions.items())) for stream in self._streams}
        return {**self._figures(self._streams, 0.0), "arrived": arrived, "states": len(states)}

    def _close(self) -> dict[str, Any]:
        for stream in self._streams:
            stream.close()
        self._streams, self._by_descriptor = [], {}
        return {}

    def _figures(self, streams: list[LoadStream], cpu: float) -> dict[str, Any]:
        return {
            "cpu": time.process_time() - cpu,
            "bytes_in": sum(stream.bytes_in for stream in streams),
            "bytes_out": sum(stream.bytes_out for stream in streams),
            "messages": sum(stream.messages for stream in streams),
            "problems": sorted({stream.problem for stream in streams if stream.problem}),
        }


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    LoadClient(sys.argv[1]).run()
