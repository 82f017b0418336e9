"""The secrets that definitions name: read when they are first named, and again whenever their files change.

A secret that breaks later keeps its last good content; that is told once, and once when it is sound again. The files are
looked at every `POLL` rather than watched: mounted secrets are links that are pointed elsewhere, often on file systems
that send no events.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from xds_server.pem_files import PemError, Signature
from xds_server.secrets.files import Content, Kind, read, signature

POLL: Final = 1.0
"""Seconds between two looks at all files."""
SHARE: Final = 20
"""Looking takes at most one part in so many of the time, however many secrets there are."""
SETTLED: Final = 2_000_000_000
"""Nanoseconds that files must have been left alone before their signature is believed, as file systems keep times in steps."""

Key = tuple[Kind, str]

log = structlog.get_logger("secrets")


class _Seen(NamedTuple):
    signature: Signature
    settled: bool
    problem: str


class SecretStore:
    """Secrets of one directory, counted by how many definitions name them.

    `changed` is called with the keys of those whose content is new, or that can be used for the first time.
    """

    def __init__(self, directory: Path | None, changed: Callable[[frozenset[Key]], Awaitable[None]]) -> None:
        """`directory`: None where the operator gave none; every secret is then missing."""
        self._directory = directory
        self._changed = changed
        self._seen: dict[Key, _Seen] = {}
        self._held: dict[Key, Content] = {}

    @property
    def held(self) -> Mapping[Key, Content]:
        """The last good content of every secret that is named and was ever sound."""
        return self._held

    def problem(self, key: Key) -> str:
        """Why there is no content of a secret that is named; empty when there is some."""
        return "" if key in self._held else self._seen[key].problem

    async def add(self, keys: Iterable[Key]) -> None:
        """Read those that are named for the first time, so that `held` or `problem` knows them."""
        await self._look([key for key in keys if key not in self._seen])

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget those that nothing names any more."""
        for key in keys:
            self._seen.pop(key, None)
            self._held.pop(key, None)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        pause = POLL
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            if changed := await self._look([*self._seen]):
                await self._changed(changed)
            pause = max(POLL, SHARE * (time.monotonic() - started))

    async def _look(self, keys: list[Key]) -> frozenset[Key]:
        """Read what differs from what was seen; returns those that have new content."""
        if not keys:
            return frozenset()
        before = {key: self._seen.get(key) for key in keys}
        found = await asyncio.to_thread(self._read, before)
        changed = set()
        for key, (seen, content) in found.items():
            if before[key] is not None and key not in self._seen:
                continue  # dropped meanwhile
            if key in self._held:
                _tell(key, before[key], seen)
            if content is not None and self._held.get(key) != content:
                self._held[key] = content
                changed.add(key)
            self._seen[key] = seen
        return frozenset(changed)

    def _read(self, keys: Mapping[Key, _Seen | None]) -> dict[Key, tuple[_Seen, Content | None]]:
        """Only those that differ. In a thread: neither slow disks nor many files hold up what is served."""
        found: dict[Key, tuple[_Seen, Content | None]] = {}
        for key, seen in keys.items():
            if self._directory is None:
                problem = "there is no --secrets-dir to read secrets from"
                found[key] = _Seen((), True, f"secret {key[1]!r}: {problem} (XDS_SERVER_SECRETS_DIR)"), None
                continue
            now = signature(self._directory, *key)
            if seen is not None and seen.settled and seen.signature == now and not seen.problem:
                continue
            settled = time.time_ns() - max((max(times[3:]) for times in now if times), default=0) > SETTLED
            try:
                found[key] = _Seen(now, settled, ""), read(self._directory, *key)
            except PemError as error:
                found[key] = _Seen(now, settled, f"secret {key[1]!r}: {error}"), None
        return found


def _tell(key: Key, before: _Seen | None, now: _Seen) -> None:
    """In the log, of one that is in use: what was refused for want of one is told by who refused it."""
    if before is None or before.problem == now.problem:
        return
    if now.problem:
        log.error("secret.broken", secret=key[1], problem=now.problem, last_good_serves=True)
    else:
        log.info("secret.mended", secret=key[1])
