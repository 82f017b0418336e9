"""A gRPC application: it does what lines of JSON on its standard input say, and answers each with a line of JSON.

A process of its own, as gRPC reads its xDS bootstrap once and keeps the state of its xDS client for good. `CHANNEL_OPTIONS`
in the environment: options of every channel, as JSON.
"""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

import grpc

OPTIONS = [*json.loads(os.environ["CHANNEL_OPTIONS"]).items()]


class Application:
    """One method for each command; the keys of a command are its arguments."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        self._streams: dict[int, Any] = {}
        self._load: Load | None = None

    def channel(self, to: str) -> grpc.Channel:
        if to not in self._channels:
            self._channels[to] = grpc.insecure_channel(to, options=OPTIONS)
        return self._channels[to]

    def send(self, to: str, n: int, within: float, headers: dict[str, str]) -> dict[str, Any]:
        """`n` RPCs one after the other."""
        call = self.channel(to).unary_unary("/test.Echo/Call")
        counts = Counts()
        for _ in range(n):
            counts.add(call, within, headers.items())
        return counts.shown()

    def open(self, to: str, n: int, within: float | None) -> dict[str, Any]:
        """`n` streams at once; returns who sent their first messages, and their numbers."""
        stream = self.channel(to).unary_stream("/test.Echo/Stream")
        calls = [stream(b"", timeout=within) for _ in range(n)]
        counts = Counts()
        numbers = []
        for call in calls:
            if counts.count(call.__next__):
                number = len(self._streams)
                self._streams[number] = call
                numbers.append(number)
        return {**counts.shown(), "streams": numbers}

    def finish(self, stream: int) -> dict[str, Any]:
        """Read a stream to its end."""
        call = self._streams.pop(stream)
        counts = Counts()
        while counts.count(call.__next__):
            pass
        return counts.shown()

    def load(self, to: str, rate: float, within: float) -> dict[str, Any]:
        """Begin to send RPCs at a constant rate."""
        assert self._load is None, "one load at a time"
        self._load = Load(self.channel(to), rate, within)
        return {}

    def counts(self) -> dict[str, Any]:
        """What became of the load's RPCs since the last time."""
        assert self._load is not None
        return self._load.taken().shown()

    def end_load(self) -> dict[str, Any]:
        """End the load; returns what became of its RPCs since the last `counts`."""
        assert self._load is not None
        self._load.end()
        rest = self.counts()
        self._load = None
        return rest

    def close(self, to: str) -> dict[str, Any]:
        self._channels.pop(to).close()
        return {}


class Counts:
    """Answers by backend, and errors by status and text."""

    def __init__(self) -> None:
        self.backends: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def add(self, call: Any, within: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.count(lambda: call(b"", timeout=within, metadata=tuple(headers)))

    def count(self, receive: Any) -> bool:
        """Whether there was a message."""
        try:
            self.backends[receive().decode()] += 1
        except StopIteration:
            return False
        except grpc.RpcError as error:
            self.errors[f"{error.code().name}: {error.details()}"] += 1
            return False
        return True

    def shown(self) -> dict[str, Any]:
        return {"backends": self.backends, "errors": self.errors}


class Load:
    """Some threads that share a rate."""

    THREADS = 4

    def __init__(self, channel: grpc.Channel, rate: float, within: float) -> None:
        self._call = channel.unary_unary("/test.Echo/Call")
        self._interval, self._within = self.THREADS / rate, within
        self._counts = Counts()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(self.THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            one = Counts()
            one.add(self._call, self._within)
            with self._lock:
                self._counts.backends += one.backends
                self._counts.errors += one.errors

    def taken(self) -> Counts:
        with self._lock:
            taken, self._counts = self._counts, Counts()
        return taken

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def main() -> None:
    application = Application()
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(application, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)
    os._exit(0)  # the test is done with it: nothing that is open is waited for


if __name__ == "__main__":
    main()
