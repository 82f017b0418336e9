"""A group: the nodes that are served the same snapshot, and what they share. No I/O here."""

from collections import deque
from collections.abc import Callable
from typing import Final

from xds_server.xds.snapshot import ChangeLog, Difference, Snapshot

PAST: Final = 64
"""Snapshots that a group remembers. They share what did not change, so that they cost what did."""


class Group:
    """Holds the current snapshot, the way to it, and the response bodies that its streams share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.snapshot: Snapshot | None = None
        """None until the first one is published: clients are held, never told that there is nothing (S16)."""
        self._past: deque[Snapshot] = deque(maxlen=PAST)
        self._log = ChangeLog()
        self._bodies: dict[tuple[str, ...], bytes] = {}

    def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the current one."""
        self.snapshot = snapshot
        self._past.append(snapshot)
        self._log.append(snapshot)
        self._bodies.clear()

    def difference(self, type_url: str, old: Snapshot, new: Snapshot) -> Difference:
        """What a client that holds `old` lacks of `new`."""
        return self._log.difference(type_url, old, new)

    def past(self, type_url: str, version: str) -> Snapshot | None:
        """A snapshot of late in which this type had this version: what a client that names the version holds of it."""
        return next((known for known in reversed(self._past) if known.version(type_url) == version), None)

    def body(self, key: tuple[str, ...], build: Callable[[], bytes]) -> bytes:
        """The bytes known by `key` under the current snapshot, built once for all streams."""
        if (known := self._bodies.get(key)) is None:
            known = self._bodies[key] = build()
        return known
