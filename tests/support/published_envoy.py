"""The delivery in this process and a real Envoy: for what a test has to hold in its hands, such as the answers of DNS."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, Self

from settled import pass_through_worker

from xds_server.bootstrap import Bootstrap
from xds_server.catalog.changes import Change
from xds_server.delivery.publisher import Publisher
from xds_server.testing import EnvoyProcess, Load
from xds_server.testing.loop import run


class PublishedEnvoy:
    """Host names are answered from `answers`, and asked for every 20 ms. Envoy has its static listener alone."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, ...]] = {}
        self.envoy: EnvoyProcess
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._publisher = Publisher(self._look_up)
            self._publisher.resolver._interval = 0.02
            port = run(self._publisher.server.start())
            stack.callback(lambda: run(self._publisher.server.stop(0)))
            for work in (self._publisher.resolver.run(), self._publisher.moments.run()):
                task = run(_begin(work))
                stack.callback(lambda task=task: run(_end(task)))
            bootstrap = Bootstrap(
                node_id="test", xds_address=f"127.0.0.1:{port}", static_listener=0, static_listener_address="127.0.0.1"
            )
            self.apply(Change())
            self.envoy = stack.enter_context(EnvoyProcess(bootstrap))
            self.envoy.wait_for_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    async def _look_up(self, name: str) -> tuple[str, ...]:
        return self.answers[name]

    def apply(self, change: Change) -> None:
        run(self._publisher.apply(change))

    @property
    def port(self) -> int:
        return self.envoy.listener_port("static")

    def has(self, name: str, endpoints: dict[str, str]) -> None:
        """Wait until Envoy has exactly these endpoints."""
        self.envoy.wait_for_endpoints(name, endpoints)
        pass_through_worker(self.port)

    def load(self, host: str) -> Load:
        return Load(self.port, host)


async def _begin(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.create_task(work)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
