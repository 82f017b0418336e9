"""Definition files as a source: changes to a set of watched files and directories, as they happen.

The work is done by a child process (`worker`), so that serving never waits for parsing. Here is what must outlive it: what
is in force. A child that dies (out of memory, say) is replaced by one that is told this first, and so keeps the last good
definitions of a file that is broken, and finds what changed in between.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence, Set
from pathlib import Path
from typing import Final

import structlog

from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.child import Child, ReaderDiedError, running_child
from xds_server.catalog.reader import Scan
from xds_server.catalog.reporting import Reporter
from xds_server.upstreams.documents import FileProblem

RETRY_FIRST: Final = 0.1
RETRY_LAST: Final = 5.0
"""Seconds before a child that died is replaced: the first wait is doubled each time that one dies without a word."""
NAMES: Final = 10
"""Names that one line of the log shows."""

log = structlog.get_logger("definitions")


class FileSource:
    """Watches `roots` (definition files, or directories of them) and calls `on_change` with every change, one at a time.

    Nothing is announced before everything was read without a problem once (`reader` says why). The first change holds all
    definitions, and may be empty; after that, what is broken keeps its last good definitions. Problems are logged once
    each. An exception from `on_change` ends `run`.
    """

    def __init__(
        self,
        roots: Sequence[Path | str],
        on_change: Callable[[Change], Awaitable[None]],
        held: Definitions | None = None,
        recall: Callable[[], Definitions] | None = None,
    ) -> None:
        """`held`: what these roots put in force before, when an earlier run is known; a file that broke since then has its
        last good definitions in it. `recall`: knows what that and `on_change` were told; without it, it is held here."""
        self._roots = tuple(os.fspath(root) for root in roots)
        self._on_change = on_change
        self._resumes = held is not None
        self._held = held or Definitions()
        self._recall = recall
        self._reporter = Reporter()
        self._child: Child | None = None
        self.ready = asyncio.Event()
        """Set when everything was read once and `on_change` has returned."""

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """Everything that is wrong with the files now."""
        return self._reporter.problems

    @property
    def child_pid(self) -> int | None:
        """Process id of the reader, for diagnosis; None while there is none."""
        return self._child.pid if self._child else None

    async def run(self) -> None:
        """Load, then watch until cancelled."""
        wait = RETRY_FIRST
        while True:
            try:
                async with running_child() as self._child:
                    held = self._recall() if self._recall is not None else self._held
                    await self._child.start(self._roots, held if self._resumes else None)
                    del held
                    while True:
                        scan = await self._child.next_scan()
                        wait = RETRY_FIRST
                        await self._take(scan)
            except ReaderDiedError as died:
                log.warning("definitions.reader_died", problem=f"{died}; another one is started")
            finally:
                self._child = None
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_LAST)

    async def _take(self, scan: Scan) -> None:
        change, nothing_wrong = scan.change, not self.problems
        self._reporter.report(scan.problems)
        if not scan.ready:
            if nothing_wrong:
                log.error("definitions.not_served", problem="nothing is served until every file has been sound once")
        elif change or not self.ready.is_set() or not (nothing_wrong or self.problems):
            await self._on_change(change)
            if self._recall is None:
                self._held.apply(change)
            self._resumes = True
            self.ready.set()
            log.info(
                "definitions.loaded",
                files=scan.files,
                upstreams=scan.upstreams,
                gateways=scan.gateways,
                changed=_some(change.upstreams.keys() | change.gateways.keys()),
                removed=_some(change.removed_upstreams | change.removed_gateways),
            )


def _some(names: Set[str]) -> str:
    """The names, or how many more there are than a line of a log should hold."""
    shown = ", ".join(sorted(names)[:NAMES])
    return f"{shown} and {len(names) - NAMES} more" if len(names) > NAMES else shown
