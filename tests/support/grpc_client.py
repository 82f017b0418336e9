"""A gRPC application in a process of its own (`grpc_client_process.py`), told what to do by the test."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from xds_server.testing.child import ChildProcess, end

SCRIPT = Path(__file__).with_name("grpc_client_process.py")


class Outcome(NamedTuple):
    """What became of some RPCs."""

    backends: Counter[str]
    """Answers by backend."""
    errors: Counter[str]
    """``STATUS: text`` of those that failed."""

    @property
    def total(self) -> int:
        return sum(self.backends.values()) + sum(self.errors.values())

    @property
    def statuses(self) -> Counter[str]:
        """Failures by status alone."""
        found: Counter[str] = Counter()
        for error, count in self.errors.items():
            found[error.partition(":")[0]] += count
        return found


class GrpcClient(ChildProcess):
    """Runs for as long as the `with` block does. Targets are what comes after `xds:///`.

    `node`: of its bootstrap. `tls`: configuration of its `tls` credentials; default: plain text. It comes back within 0.2 s to
    targets that were away.
    """

    def __init__(
        self, xds_address: str, *, node: dict[str, Any] | None = None, tls: dict[str, Any] | None = None
    ) -> None:
        credentials = {"type": "insecure"} if tls is None else {"type": "tls", "config": tls}
        self._bootstrap = {
            "xds_servers": [{"server_uri": xds_address, "channel_creds": [credentials]}],
            "node": node or {"id": "app", "cluster": "tests"},
        }
        self._options = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 200}
        self._answers: queue.Queue[str] = queue.Queue()
        self._log: list[str] = []
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
        environment["GRPC_XDS_BOOTSTRAP_CONFIG"] = json.dumps(self._bootstrap)
        environment["CHANNEL_OPTIONS"] = json.dumps(self._options)
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._process = process
        self._readers = [
            threading.Thread(target=self._pump, args=(process.stdout, self._answers.put), daemon=True),
            threading.Thread(target=self._pump, args=(process.stderr, self._log.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        process, self._process = self._running(), None
        end(process, 5)
        for reader in self._readers:
            reader.join(5)
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        if error is not None:
            error.add_note("the gRPC client's log:\n" + "".join(self._log))

    # Commands

    def send(self, name: str, n: int = 1, *, within: float = 10, **headers: str) -> Outcome:
        """`n` RPCs one after the other, each with `within` seconds to be answered."""
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        return _outcome(self._tell(n * within + 10, do="send", to=_uri(name), n=n, within=within, headers=headers))

    def reach(self, name: str, *backends: str, within: float = 10, **headers: str) -> None:
        """Send RPCs until each of `backends` has answered: a client uses those first that it is connected to first."""
        deadline = time.monotonic() + within
        missing = set(backends)
        while missing:
            missing -= self.send(name, 10, **headers).backends.keys()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer from {sorted(missing)} after {within:g} s")

    def open(self, name: str, n: int = 1, *, within: float | None = None) -> tuple[Outcome, list[int]]:
        """Begin `n` streams at once; returns what came first, and the numbers of those that are open."""
        answer = self._tell(30, do="open", to=_uri(name), n=n, within=within)
        return _outcome(answer), answer["streams"]

    def finish(self, stream: int) -> Outcome:
        """Read a stream to its end."""
        return _outcome(self._tell(30, do="finish", stream=stream))

    def load(self, name: str, *, rate: float = 200, within: float = 10) -> None:
        """Begin to send RPCs at a constant rate, until `end_load`."""
        self._tell(10, do="load", to=_uri(name), rate=rate, within=within)

    def counts(self) -> Outcome:
        """What became of the load's RPCs since the last time."""
        return _outcome(self._tell(10, do="counts"))

    def end_load(self) -> Outcome:
        return _outcome(self._tell(30, do="end_load"))

    def load_until(self, condition: Callable[[Counter[str]], object], what: str, within: float = 10) -> Outcome:
        """Wait until the backends of 40 or more RPCs of the load satisfy `condition`; returns all since the last time."""
        deadline = time.monotonic() + within
        total = window = Outcome(Counter(), Counter())
        while True:
            time.sleep(0.02)
            new = self.counts()
            total, window = _sum(total, new), _sum(window, new)
            if window.total >= 40:
                if condition(window.backends):
                    return total
                window = Outcome(Counter(), Counter())
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {what} after {within:g} s: {total}")

    def close(self, name: str) -> None:
        """Close the channel to `name`."""
        self._tell(10, do="close", to=_uri(name))

    def _tell(self, limit: float, **command: Any) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        deadline = time.monotonic() + limit
        while True:
            try:
                return dict(json.loads(self._answers.get(timeout=0.1)))
            except queue.Empty:
                if process.poll() is not None:
                    raise RuntimeError(f"the gRPC client ended with {process.returncode}") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the gRPC client did not answer {command} within {limit:g} s") from None

    @staticmethod
    def _pump(pipe: Any, take: Callable[[str], None]) -> None:
        for line in pipe:
            take(line)


def _uri(name: str) -> str:
    return f"xds:///{name}"


def _outcome(answer: dict[str, Any]) -> Outcome:
    return Outcome(Counter(answer["backends"]), Counter(answer["errors"]))


def _sum(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(one.backends + other.backends, one.errors + other.errors)
