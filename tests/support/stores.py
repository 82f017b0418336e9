"""What tests put into stores, and a store that is nothing but lists, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from xds_server.catalog.store.records import API, Attribution, Change, Entry, Held, Key, Revision, State, dumped
from xds_server.catalog.store.store import Store

BY = Attribution("someone", "for a reason", "10.0.0.1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(document: str, origin: str = API, line: int = 0) -> Entry:
    return Entry(origin, line, dumped(document))


def changed(**wanted: str | None) -> dict[Key, Change]:
    """Changes of upstreams: what each is to say, or None to remove it."""
    return {
        ("upstream", name): Change("changed", entry(said)) if said is not None else Change("removed", None)
        for name, said in wanted.items()
    }


def said(held: Mapping[Key, Held]) -> dict[str, str]:
    """The upstreams of a state, and what they say."""
    return {name: each.entry.data for (_, name), each in held.items()}


class Model:
    """What a store should be: every state, whole."""

    def __init__(self) -> None:
        self.states: list[dict[str, str]] = [{}]
        """As of each revision; revision 0 is before the first."""
        self.oldest = 1

    @property
    def head(self) -> int:
        return len(self.states) - 1

    def commit(self, store: Store, made: Mapping[str, str | None], state: State = "applied") -> None:
        changes = changed(**made)
        store.commit(Revision(self.head + 1, START + timedelta(hours=self.head), BY, state), changes)
        after = dict(self.states[-1])
        if state == "applied":
            after |= {name: value for name, value in made.items() if value is not None}
            for name in made:
                if made[name] is None:
                    after.pop(name, None)
        self.states.append(after)

    def prune(self, store: Store, keep: int, hours: int) -> None:
        """Keep the last `keep` revisions, of these the ones of the last `hours`."""
        since = START + timedelta(hours=self.head - hours)
        beyond = [n for n in range(1, self.head + 1) if n <= self.head - keep or START + timedelta(hours=n - 1) < since]
        horizon = min(max(beyond, default=0), self.head - 1)
        forgotten = max(0, horizon - self.oldest + 1)
        assert store.prune(keep=keep, newer_than=since) == forgotten
        self.oldest = max(self.oldest, horizon + 1)
