"""Requests through Envoy: one, a counted number, or a constant load in the background."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from xds_server.testing.http1 import MAX_HEAD, read_body, read_head
from xds_server.testing.loop import background_loop, run


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def backend(self) -> str:
        """Name of the `Backend` that answered, empty if none did."""
        return self.headers.get("x-backend", "")


class _Connection:
    """One keep-alive connection, opened again when the other side has closed it between two requests.

    With `connection: close` in `headers`, those of each request, it is opened anew for every one.
    """

    def __init__(self, port: int, address: str, headers: Mapping[str, str] | None) -> None:
        self._port, self._address = port, address
        said = {name.lower(): value.lower() for name, value in (headers or {}).items()}
        self._is_for_one = said.get("connection") == "close"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes, within: float) -> Answer:
        try:
            async with asyncio.timeout(within):
                answer, keeps_alive = await self._exchange(request)
        except BaseException:
            self.close()
            raise
        if self._is_for_one or not keeps_alive:
            self.close()
        return answer

    async def _exchange(self, request: bytes) -> tuple[Answer, bool]:
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(self._address, self._port, limit=MAX_HEAD)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = await read_head(reader)
        body = await read_body(reader, head)
        return Answer(head.status, head.headers, body), head.keeps_alive

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(
    port: int,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    address: str = "127.0.0.1",
    timeout: float = 30,
) -> Answer:
    """Send one request with this Host and return its answer, whatever its status.

    Raises OSError or EOFError when the connection fails, TimeoutError after `timeout` seconds.
    """
    message = _encode(method, path, host, headers or {})

    async def once() -> Answer:
        connection = _Connection(port, address, headers)
        try:
            return await connection.exchange(message, timeout)
        finally:
            connection.close()

    return run(once())


def send(
    port: int, host: str, n: int, path: str = "/", *, headers: Mapping[str, str] | None = None, connections: int = 1
) -> Counter[str]:
    """Send `n` requests and count the backends that answered 200; any other status is counted as its number ("503").

    One after the other over each of `connections` keep-alive connections. Raises as `request` does.
    """
    message = _encode("GET", path, host, headers or {})

    async def sequence(share: int) -> Counter[str]:
        connection = _Connection(port, "127.0.0.1", headers)
        counts: Counter[str] = Counter()
        try:
            for _ in range(share):
                answer = await connection.exchange(message, 30)
                counts[answer.backend if answer.status == 200 else str(answer.status)] += 1
        finally:
            connection.close()
        return counts

    async def all_of_them() -> Counter[str]:
        shares = [len(range(i, n, connections)) for i in range(connections)]
        return sum(await asyncio.gather(*map(sequence, shares)), Counter[str]())

    return run(all_of_them())


class Load:
    """Sends requests through Envoy at a constant rate for as long as the `with` block lasts.

        with Load(port, "payments", rate=200) as load:
            ...  # change something
            load.wait_for(100)
        assert load.failures == 0, load.errors

    `rate`: requests a second, shared by `connections` keep-alive connections; one whose answers are slower than its
    share sends less. `path`, `headers`: of each request. A failure is an answer that is not 2xx, a connection that
    fails, and no answer within `timeout` seconds. On leaving the block, requests under way are waited for.
    """

    def __init__(
        self,
        port: int,
        host: str,
        *,
        rate: float = 200,
        connections: int = 4,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10,
    ) -> None:
        self._port = port
        self._headers = headers
        self._message = _encode("GET", path, host, headers or {})
        self._interval = connections / rate
        self._connections = connections
        self._timeout = timeout
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.statuses: Counter[int] = Counter()
        """Answers by status."""
        self.backends: Counter[str] = Counter()
        """2xx answers by the backend that gave them."""
        self.errors: Counter[str] = Counter()
        """What went wrong, by text, an answer's status and body included."""
        self.slowest = 0.0
        """Seconds that the slowest answer took."""

    @property
    def total(self) -> int:
        """Requests that have ended, well or not."""
        return sum(self.backends.copy().values()) + self.failures

    @property
    def failures(self) -> int:
        """Requests that have ended and not with 2xx."""
        return sum(self.errors.copy().values())

    def reset(self) -> None:
        """Count answers from 0 again. What failed stays in `errors`, so that a check at the end still sees it."""
        self.statuses.clear()
        self.backends.clear()
        self.slowest = 0.0

    def wait_for(self, n: int, timeout: float = 30) -> None:
        """Wait until `n` more requests have ended. Raises TimeoutError."""
        deadline, goal = time.monotonic() + timeout, self.total + n
        while self.total < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{n} more requests did not end in {timeout:g} s; errors: {dict(self.errors)}")
            time.sleep(0.005)

    async def _start(self) -> None:
        self._tasks = [asyncio.create_task(self._worker(i)) for i in range(self._connections)]

    async def _end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _worker(self, number: int) -> None:
        loop = background_loop()
        connection = _Connection(self._port, "127.0.0.1", self._headers)
        due = loop.time() + self._interval * number / self._connections
        while not await self._stopped_before(due):
            await self._one(connection)
            due = max(due + self._interval, loop.time() - self._interval)
        connection.close()

    async def _stopped_before(self, due: float) -> bool:
        await asyncio.sleep(max(0, due - background_loop().time()))
        return self._stop.is_set()

    async def _one(self, connection: _Connection) -> None:
        started = time.monotonic()
        try:
            answer = await connection.exchange(self._message, self._timeout)
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            self.errors[repr(error)] += 1
            return
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.statuses[answer.status] += 1
        if 200 <= answer.status < 300:
            self.backends[answer.backend] += 1
        else:
            self.errors[f"{answer.status} {answer.body[:200].decode(errors='replace')}"] += 1

    def __enter__(self) -> Self:
        run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run(self._end())


def assert_shares(counts: Mapping[str, int], weights: Mapping[str, float], *, tolerance: float = 0) -> None:
    """Assert that requests were shared by these weights: `assert_shares(send(…), {"a": 3, "b": 1})`.

    `counts`: answers by backend, as `send` gives them; whatever `weights` does not name must be absent, errors too.
    `tolerance`: points of a percent by which each share may differ. Default 0: one request more or less, as whole
    requests cannot be shared exactly; of a weight of 0, none. Raises AssertionError that names the shares, and what was wanted.
    """
    total, wanted = sum(counts.values()), sum(weights.values())
    assert total > 0, "no request was answered"
    assert wanted > 0, "no weight is above 0"
    allowed = max(total * tolerance / 100, 1)
    off = {
        name: f"{counts.get(name, 0)} of {total}, not {total * weights.get(name, 0) / wanted:g}"
        for name in {*counts, *weights}
        if (not weights.get(name) and counts.get(name))
        or abs(counts.get(name, 0) - total * weights.get(name, 0) / wanted) > allowed
    }
    assert not off, "; ".join(f"{name}: {text}" for name, text in sorted(off.items()))


def _encode(method: str, path: str, host: str, headers: Mapping[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n".encode("latin-1")
