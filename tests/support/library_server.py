"""The discovery server as a library, in the test's own process: snapshots go in, events come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Self

from wire import Wire

from xds_server.fleet import Fleet
from xds_server.management.http.listening import HttpServer
from xds_server.testing.loop import run
from xds_server.xds import DiscoveryServer, Event, Limits, Resource, Snapshot
from xds_server.xds.rest import rest_app

LIMITS = Limits(drain=0, rescue_after=1)
"""Nothing here waits for other replicas to take over, nor as long as clients in the field do."""


class LibraryServer:
    """Serves one snapshot to every client, at an address that it keeps over restarts, on a wire that can be cut."""

    def __init__(self, *, hold: bool = False, rest: bool = False) -> None:
        """`hold`: without a snapshot, so that clients wait for the first one. `rest`: for pollers, not over gRPC."""
        self.snapshot = Snapshot.of()
        self.events: list[Event] = []
        """Everything that happened on all streams, since the last start or cut. Polls make none."""
        self.wire = Wire()
        self._held, self._rest = hold, rest
        self.server: DiscoveryServer | None = None
        """While it runs."""
        self.fleet: Fleet
        """Watches it."""
        self._http: HttpServer | None = None
        self._stack = ExitStack()

    # Content

    def serve(self, *resources: Resource) -> None:
        """Serve exactly these."""
        self._publish(Snapshot.of(resources))

    def change(self, *upsert: Resource, remove: Iterable[tuple[str, str]] = ()) -> None:
        """Add or replace some and take others out, as one change."""
        self._publish(self.snapshot.change(upsert, remove))

    def forget(self) -> None:
        """As a control plane that was never told what to serve, or has lost it."""
        self._publish(Snapshot.unwritten())

    def _publish(self, snapshot: Snapshot) -> None:
        self.snapshot, self._held = snapshot, False
        if self.server is not None:
            run(_set(self.server, snapshot))

    # Life

    @property
    def address(self) -> str:
        """Where clients connect: host:port."""
        return self.wire.address

    def start(self) -> None:
        """Listen. The server knows nothing of an earlier one, as after a restart of its process."""
        self.events = []
        self.server = DiscoveryServer(observe=self.events.append, identifier="library", limits=LIMITS)
        self.fleet = Fleet(self.server)
        if self._rest:
            self._http = HttpServer(rest_app(self.server))
            port = run(self._http.start("127.0.0.1:0"))
        else:
            port = run(self.server.start())
        self.wire.target = f"127.0.0.1:{port}"
        if not self._held:
            self._publish(self.snapshot)

    def stop(self) -> None:
        """End all streams and close the port. What is changed meanwhile is served after the next start."""
        server, self.server = self.server, None
        if server is not None:
            run(server.stop(0))
        http, self._http = self._http, None
        if http is not None:
            self.wire.cut()
            run(http.stop())
            self.wire.mend()

    def restart(self) -> None:
        """End all streams, and be there again at once."""
        self.stop()
        self.start()

    def cut(self) -> None:
        """Break all connections off; the server goes on, and nobody reaches it until `mend`."""
        self.wire.cut()
        self.events.clear()

    def mend(self) -> None:
        """Let clients through again."""
        self.wire.mend()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.wire)
            stack.callback(self.stop)
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    # What happened

    def seen(self, kind: str, type_url: str = "") -> list[Event]:
        """Events of a kind, in order; `type_url`: only those about that type."""
        return [event for event in list(self.events) if event.kind == kind and type_url in ("", event.type_url)]

    def wait_for(self, kind: str, type_url: str = "", *, count: int = 1, timeout: float = 10) -> Event:
        """Wait until there were `count` such events; returns the last. Raises TimeoutError."""
        self.wait_until(lambda: len(self.seen(kind, type_url)) >= count, f"{count} x {kind} {type_url}", timeout)
        return self.seen(kind, type_url)[-1]

    def wait_until(self, condition: Callable[[], object], what: str, timeout: float = 10) -> None:
        """Wait for a condition on what happened. Raises TimeoutError, which shows what did."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} after {timeout:g} s; there were:\n{self.story()}")
            time.sleep(0.005)

    def story(self) -> str:
        """The events in a line each, for people who look for what went wrong."""
        return "\n".join(
            f"{event.stream} {event.kind} {event.type_url.rpartition('.')[2]} {event.nonce} {event.version} "
            f"{','.join(event.names)} -{','.join(event.removed)} {event.detail[:200]}"
            for event in list(self.events)
        )


async def _set(server: DiscoveryServer, snapshot: Snapshot) -> None:
    server.set_snapshot(snapshot)
