"""Scripted clients of a `DiscoveryServer`, and a fleet that watches them: no connections, and no time passes by itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scripted_client import Client

from xds_server.fleet import Commit, Fleet
from xds_server.xds import CLUSTER, ENDPOINTS, DiscoveryServer, Node, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.group import Group
from xds_server.xds.sotw import SotwStream
from xds_server.xds.stream import Stream


class Joined(Client):
    """One stream of one client, as the server would have it."""

    def __init__(self, server: DiscoveryServer, kind: type[Stream[Any]], type_url: str | None, peer: str) -> None:
        def join(node: Node) -> Group:
            self.group = server._join(stream, node, None)
            return self.group

        self._server = server
        stream: Stream[Any] = kind(join, type_url=type_url, observe=server._observe, memory=server._memory, peer=peer)
        super().__init__(stream, Group("none yet"), [])

    def leave(self) -> None:
        self.stream.close("the client left")
        self._server._leave(self.stream)


class JoinedFleet:
    """A server, its clients and its fleet. `now` is the fleet's clock, and changes by hand."""

    def __init__(self, *resources: Resource) -> None:
        self.now = 1_700_000_000.0
        self.groups: dict[str, str] = {}
        """By node id; the others are in the group ""."""
        self.server = DiscoveryServer(lambda node: self.groups.get(node.id, ""))
        self.fleet = Fleet(self.server, clock=lambda: self.now)
        self.revisions = itertools.count(1)
        if resources:
            self.server.set_snapshot(Snapshot.of(resources))

    def join(
        self,
        node: str = "n",
        *,
        delta: bool = True,
        type_url: str | None = None,
        agent: str = "envoy 1.40.0",
        peer: str = "",
    ) -> Joined:
        joined = Joined(self.server, DeltaStream if delta else SotwStream, type_url, peer)
        joined.node, joined.agent = node, agent
        return joined

    def publish(
        self,
        *upsert: Resource,
        remove: tuple[tuple[str, str], ...] = (),
        group: str = "",
        committed_at: float | None = None,
    ) -> int:
        """Serve a change as a revision; returns its number."""
        with self.revision(committed_at) as revision:
            snapshot = self.server.snapshot(group) or Snapshot.of()
            self.server.set_snapshot(snapshot.change(upsert, remove), group)
        return revision

    @contextmanager
    def revision(self, committed_at: float | None = None) -> Iterator[int]:
        revision = next(self.revisions)
        with self.fleet.published(Commit(revision, self.now if committed_at is None else committed_at)):
            yield revision


def up_to_date(fleet: JoinedFleet, node: str = "n", *, endpoints: tuple[str, ...] = ("a", "b"), **how: Any) -> Any:
    """A client that holds all clusters and some endpoints, and acknowledged them."""
    here = fleet.join(node, **how)
    here.accept(*here.want(CLUSTER), *here.want(ENDPOINTS, *endpoints))
    return here


def measured(function: Any) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    function()
    return time.process_time() - start
