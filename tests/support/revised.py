"""A real Envoy, a discovery server as a library, and a fleet that watches: what is changed is a revision, and is waited for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from envoy_matrix import MatrixEnvoy

from xds_server.fleet import Commit, Fleet, NodeStatus, Progress
from xds_server.testing.loop import run
from xds_server.xds import Resource, Snapshot

NODE = "matrix"
"""The id of its Envoy."""


class RevisedEnvoy(MatrixEnvoy):
    _numbers = itertools.count(1)

    @property
    def fleet(self) -> Fleet:
        return self.server.fleet

    def revise(self, *upsert: Resource, remove: Iterable[tuple[str, str]] = ()) -> int:
        """Make a change that is a revision; returns its number."""
        self.server.snapshot = self.server.snapshot.change(upsert, remove)
        return run(self._revise(self.server.snapshot))

    async def _revise(self, snapshot: Snapshot) -> int:
        assert self.server.server is not None
        revision = next(self._numbers)
        with self.fleet.published(Commit(revision, time.time())):
            self.server.server.set_snapshot(snapshot)
        return revision

    def wait(self, revision: int, within: float = 10, **how: Any) -> Progress:
        return run(self.fleet.wait(revision, within=within, **how))

    def progress(self, revision: int) -> Progress:
        return run(self._told(self.fleet.progress, revision))

    def node(self) -> NodeStatus:
        """What is known of its Envoy."""
        found = run(self._told(self.fleet.node, NODE))
        assert found is not None
        return found

    async def _told(self, ask: Any, *about: Any) -> Any:
        return ask(*about)
