"""When to look at the files again: after every event below a root, and when a root itself is another one.

Events come from the operating system (inotify and its like). They do not tell everything: nothing about the root itself
being replaced (a link pointed elsewhere, a lost mount that comes back, a single file that an editor renames over), so one
`stat` per root is made every `POLL`; and nothing about network file systems, about files that are links to outside the
tree, or after an overflow, so everything is looked at every `RECHECK` as well. Where events cannot be had at all, the
files are looked at every `RECHECK_BLIND`.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import watchfiles

POLL: Final = 0.1
"""Seconds between two looks at the identity of the roots."""
QUIET: Final = 0.02
"""Seconds without an event that end a burst of them: a checkout of many files is one change."""
BURST: Final = 0.5
"""Seconds after which a burst that does not end is looked at all the same."""
RECHECK: Final = 5.0
RECHECK_BLIND: Final = 0.5
SHARE: Final = 20
"""Looking without cause takes at most one part in so many of the time, however large the tree."""

Identity = tuple[int, ...]


def occasions(roots: Sequence[str], *, blind: Callable[[str], None]) -> Iterator[None]:
    """Yield, for ever, whenever the files below `roots` should be looked at; at once first.

    What happens while the consumer is busy is one more occasion, however much it is. `blind` is told why when events turn
    out to be unavailable.
    """
    while True:
        before = _identities(roots)
        yield  # at once, not waiting for the watch to stand: it may take a while, or fail
        events, recheck = _events(roots), RECHECK
        wait = 0.0  # so that the first event or tick finds what happened before the watch stood
        looked = time.monotonic()
        while _identities(roots) == before:
            try:
                happened = next(events)
            except (OSError, RuntimeError) as error:
                blind(str(error))
                events, recheck = _ticks(), RECHECK_BLIND
                continue
            started = time.monotonic()
            if happened or started - looked >= wait:
                yield
                looked = time.monotonic()
                wait = max(recheck, SHARE * (looked - started))


def _events(roots: Sequence[str]) -> Iterator[bool]:
    """Whether something happened below `roots`, at least every `POLL`. Raises OSError when that cannot be told."""
    directories = [root for root in roots if os.path.isdir(root)]
    if not directories:
        return _ticks()
    changes = watchfiles.watch(
        *directories,
        watch_filter=_relevant,
        step=int(QUIET * 1000),
        debounce=int(BURST * 1000),
        rust_timeout=int(POLL * 1000),
        yield_on_timeout=True,
    )
    return map(bool, changes)


def _ticks() -> Iterator[bool]:
    while True:
        time.sleep(POLL)
        yield False


def _relevant(_: watchfiles.Change, path: str) -> bool:
    """Not what editors and version control keep in hidden files, but Kubernetes' ``..data``."""
    name = os.path.basename(path)
    return (not name.startswith(".") or name.startswith("..")) and f"{os.sep}.git{os.sep}" not in path


def _identities(roots: Sequence[str]) -> list[Identity]:
    return [_identity(root) for root in roots]


def _identity(root: str) -> Identity:
    """What a root is: which directory, or which file with which content; empty when there is none."""
    try:
        found = os.stat(root)
    except OSError:
        return ()
    if stat.S_ISDIR(found.st_mode):
        return (found.st_dev, found.st_ino)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
