"""What is said to have come of changes, checked against what the model clients hold.

A change that is said to be acknowledged is held by the client, or something newer is; and once everything was said and accepted
nothing is waited for.
"""

from __future__ import annotations

from typing import Any

from model_client import FULL_SETS, ModelClient

from xds_server.xds import Outcome, Snapshot
from xds_server.xds.group import Group


class Changes:
    """The changes of one group, and the streams that each concerns."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._history: list[Snapshot] = []

    def publish(self, old: Snapshot | None, snapshot: Snapshot) -> None:
        self._history.append(snapshot)
        self._touched = self._group.touched(old, snapshot)

    def concern(self, stream: Any, client: ModelClient) -> None:
        """A stream may have something to say about the last change."""
        since, touched, moves = len(self._history) - 1, self._touched, client.moves

        def tell(outcome: Outcome) -> None:
            assert told.append(outcome) is None and len(told) == 1, "told once"  # noqa: PT018
            # One that was in another group since answers late, and holds something of that group by now.
            if outcome.kind == "acknowledged" and client.moves == moves and touched is not None:
                for type_url in touched.keys() & stream._watches.keys():
                    kept_back = stream._watches[type_url].quarantine.refused  # told once, when it was rejected
                    names = touched[type_url] - kept_back.keys()
                    names = {name for name in names if self._is_news(client, type_url, name, refused)}
                    self._check(client, type_url, names, since)

        refused = {type_url: dict(side.refused) for type_url, side in client.sides.items()}
        told: list[Outcome] = []
        stream.expect(touched, tell)

    def _is_news(
        self, client: ModelClient, type_url: str, name: str, refused: dict[str, dict[str, bytes | None]]
    ) -> bool:
        """Not what was refused before, and is not sent again, as it did not change in between (S20, D30)."""
        now = client.sides[type_url].refused
        return name not in now or name not in refused[type_url] or now[name] != refused[type_url][name]

    def _check(self, client: ModelClient, type_url: str, names: set[str], since: int) -> None:
        side = client.sides[type_url]
        for name in filter(side.wants, names):
            resources = [snapshot.get(type_url, name) for snapshot in self._history[since:]]
            bodies = {resource.body if resource is not None else None for resource in resources}
            if None in bodies and not client.profile.delta and type_url not in FULL_SETS:
                continue  # nothing says that it is gone (S44)
            if name in side.refused and not client.profile.delta:
                continue  # the answer to a later response hid it (S32)
            assert side.held.get(name) in bodies, f"{type_url} {name!r} is said to be acknowledged, and is not held"


def check_rest(stream: Any) -> None:
    """Everything was said, and accepted."""
    assert not stream._awaiting._changes, "a change is waited for, and nothing more will be said"
