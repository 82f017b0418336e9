"""Why the catalogue does not take a change. Each says what, where and how to mend it; nothing was changed."""

from collections.abc import Mapping

from xds_server.catalog.store.records import Key
from xds_server.upstreams.model import Problem


class RefusedError(Exception):
    """Base of all: the change was not made."""


class InvalidError(RefusedError):
    """Definitions that cannot be in force beside each other, or at all."""

    def __init__(self, problems: Mapping[Key, list[Problem]]) -> None:
        self.problems = problems
        """By record; locations begin in its definition, and () is all of it."""
        super().__init__("; ".join(f"{key[0]} {key[1]}: {p.message}" for key, found in problems.items() for p in found))


class StillNeededError(InvalidError):
    """Upstreams would go that gateways forward to which stay: `problems` are these gateways'."""

    def __init__(self, problems: Mapping[Key, list[Problem]], needed: Mapping[Key, tuple[str, str]]) -> None:
        """`needed`: by gateway, the upstream, and where the gateway is defined."""
        super().__init__(problems)
        self.args = (
            "; ".join(
                f"upstream {upstream!r} is still needed: gateway {key[1]!r} of {owner} forwards to it; have it forward "
                "elsewhere first, or remove it"
                for key, (upstream, owner) in needed.items()
            ),
        )


class NotOwnedError(RefusedError):
    """A record belongs to another origin."""

    def __init__(self, key: Key, owner: str) -> None:
        self.key, self.owner = key, owner
        super().__init__(f"{key[0]} {key[1]!r} is defined in {owner}: edit it there, or remove it from that file first")


class ChangedMeanwhileError(RefusedError):
    """Somebody else changed a record since the caller read it (If-Match)."""

    def __init__(self, key: Key, revision: int | None) -> None:
        self.key, self.revision = key, revision
        now = f"was changed by revision {revision}" if revision is not None else "does not exist (any more)"
        super().__init__(f"{key[0]} {key[1]!r} {now}: read it again, and repeat the change on what it is now")


class UnknownRecordError(RefusedError):
    """There is no such record."""

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"there is no {kind} {name!r}{hint}")


class HistoryError(RefusedError):
    """A revision that cannot be confirmed, or waited for."""
