"""From what somebody wants to what a revision would change, or why it cannot be. Pure: contents in, a plan out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xds_server.catalog.contents import THE_API, Contents, Value, placed
from xds_server.catalog.errors import (
    ChangedMeanwhileError,
    InvalidError,
    NotOwnedError,
    StillNeededError,
    UnknownRecordError,
)
from xds_server.catalog.guard import Guard, Loss
from xds_server.catalog.overrides import TargetOverride, impossible, override_name, split_name
from xds_server.catalog.store.records import (
    API,
    GATEWAY,
    OVERRIDE,
    UPSTREAM,
    Attribution,
    Change,
    Entry,
    Key,
    dumped,
)
from xds_server.upstreams.model import Gateway, Problem, Upstream, clashes

NAMES: Final = 10
"""Targets that a message names."""


class Put(NamedTuple):
    """A record as it is to be, and what it says."""

    entry: Entry
    value: Value


def put(value: Value, origin: str = API, line: int = 0) -> Put:
    """A record that says `value`, as its author wrote it."""
    return Put(Entry(origin, line, dumped(value.model_dump(mode="json", exclude_unset=True))), value)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody wants changed, all of it or nothing."""

    by: Attribution
    put: Mapping[Key, Put] = field(default_factory=dict)
    remove: frozenset[Key] = frozenset()
    expected: Mapping[Key, int] = field(default_factory=dict)
    """Revision that made each record what the caller believes it to be; 0: it must not exist (If-Match, If-None-Match)."""
    refers_to: int | None = None
    """The revision that is gone back to, or confirmed."""
    confirmed: bool = False
    """It confirms the revision that it refers to: the guard does not hold it."""
    is_news: bool = False
    """It is a revision even where nothing changes: that its source was heard at all is worth knowing."""

    @property
    def confirms(self) -> int | None:
        """The held revision that it releases."""
        return self.refers_to if self.confirmed else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a revision would change. Without changes there is nothing to do."""

    changes: Mapping[Key, Change]
    values: Mapping[Key, Value]
    """What the entries of `changes` say."""
    objection: str = ""
    """Why the guard would hold it; empty when it would not."""


def plan(contents: Contents, proposal: Proposal, guard: Guard) -> Plan:
    """What `proposal` changes. Raises a RefusedError."""
    check_expected(contents, proposal.expected)
    for key in [*proposal.put, *proposal.remove]:
        _check_owner(contents, key, proposal)
    changes: dict[Key, Change] = {}
    for key, wanted in proposal.put.items():
        there = contents.records.get(key)
        if there is None:
            changes[key] = Change("added", wanted.entry)
        elif not wanted.entry.says_the_same(there.held.entry):
            changes[key] = Change("changed", wanted.entry)
    for key in proposal.remove:
        if key in contents and key not in proposal.put:
            changes[key] = Change("removed", None)
    values = {key: proposal.put[key].value for key, change in changes.items() if change.entry is not None}
    problems = _problems(contents, changes, values)
    if proposal.refers_to is None:  # what was in force once, can be
        for key, problem in _impossible_overrides(contents, changes, values):
            problems.setdefault(key, []).append(problem)
    if problems:
        needed = _needed(contents, changes)
        raise StillNeededError(problems, needed) if needed.keys() == problems.keys() else InvalidError(problems)
    objection = "" if proposal.confirmed else guard.objection(*_losses(contents, changes, values))
    return Plan(changes, values, objection)


def check_expected(contents: Contents, expected: Mapping[Key, int]) -> None:
    """Raises ChangedMeanwhileError unless these revisions made records what they are; see `Proposal.expected`."""
    for key, revision in expected.items():
        there = contents.records.get(key)
        if (there.held.revision if there is not None else 0) != revision:
            raise ChangedMeanwhileError(key, there.held.revision if there is not None else None)


def _check_owner(contents: Contents, key: Key, proposal: Proposal) -> None:
    there = contents.records.get(key)
    if there is None:
        return
    wanted = proposal.put.get(key)
    by_file = wanted.entry.origin != API if wanted is not None else proposal.by.source == "files"
    if key[0] != OVERRIDE and by_file != (there.owner != API) and (by_file or contents.is_of_a_file(key)):
        raise NotOwnedError(key, there.owner if there.owner != API else "the API")


def _problems(
    contents: Contents, changes: Mapping[Key, Change], values: Mapping[Key, Value]
) -> dict[Key, list[Problem]]:
    """What is wrong with the records that change, seen together with all that stay."""
    kept = {key for key in contents.neighbours(changes.keys(), values) if key not in changes}
    # Without what they forward to, gateways would look as if they led nowhere.
    kept |= {
        (UPSTREAM, gateway.facts.upstream)
        for key in kept
        if (gateway := contents.records.get(key)) is not None
        and gateway.facts.upstream is not None
        and (UPSTREAM, gateway.facts.upstream) not in changes
    }
    stay = {key: contents.records[key] for key in sorted(kept) if key in contents.records}
    entries = {key: (record.held.entry, record.value) for key, record in stay.items()}
    for key, value in values.items():
        entry = changes[key].entry
        assert entry is not None
        entries[key] = (entry, value)  # after those that stay: the later one is told of the clash
    upstreams = [placed(entry, value) for entry, value in entries.values() if isinstance(value, Upstream)]
    gateways = [placed(entry, value) for entry, value in entries.values() if isinstance(value, Gateway)]
    found: dict[Key, list[Problem]] = {}
    for clash in clashes(upstreams, gateways):
        kind = UPSTREAM if isinstance(clash.at.value, Upstream) else GATEWAY
        found.setdefault((kind, clash.at.value.name), []).append(Problem((clash.field,), clash.message))
    return found


def _needed(contents: Contents, changes: Mapping[Key, Change]) -> dict[Key, tuple[str, str]]:
    """Gateways that stay as they are while the upstream goes that they forward to, and where each is defined."""
    gone = [key for key, change in changes.items() if change.action == "removed"]
    needing = (key for key in contents.neighbours(set(gone), {}) if key not in changes)
    found = {key: contents.records[key] for key in sorted(needing)}
    return {
        key: (record.value.upstream, THE_API if record.owner == API else record.owner)
        for key, record in found.items()
        if isinstance(record.value, Gateway) and record.value.upstream is not None
    }


def _impossible_overrides(
    contents: Contents, changes: Mapping[Key, Change], values: Mapping[Key, Value]
) -> Iterator[tuple[Key, Problem]]:
    """An override must be possible over the definition that it is written over; later ones may make a part of it void."""
    for name, written in _by_upstream(values).items():
        below = values.get((UPSTREAM, name)) or contents.upstream(name)
        if not isinstance(below, Upstream) or changes.get((UPSTREAM, name), Change("added", None)).action == "removed":
            raise UnknownRecordError(UPSTREAM, name)
        there = [each.key for each in below.targets]
        for target in written:
            if target not in there:
                hint = f" in upstream {name!r}; there are: {', '.join(there[:NAMES]) or 'none'}"
                raise UnknownRecordError("target", target, hint)
        stay = {
            target: override
            for target, override in contents.overrides(name).items()
            if (OVERRIDE, override_name(name, target)) not in changes
        }
        for problem in impossible(below, stay | written):
            for target in written:
                yield (OVERRIDE, override_name(name, target)), Problem(("weight",), problem.message)
            break


def _by_upstream(values: Mapping[Key, Value]) -> dict[str, dict[str, TargetOverride]]:
    """The overrides among `values`, by upstream and target."""
    found: dict[str, dict[str, TargetOverride]] = {}
    for (_, name), value in values.items():
        if isinstance(value, TargetOverride):
            upstream, target = split_name(name)
            found.setdefault(upstream, {})[target] = value
    return found


def _losses(contents: Contents, changes: Mapping[Key, Change], values: Mapping[Key, Value]) -> tuple[Loss, Loss]:
    targets = upstreams = 0
    for key, change in changes.items():
        before = contents.upstream(key[1]) if key[0] == UPSTREAM else None
        if before is None:
            continue
        after = values.get(key)
        left = {target.key for target in after.targets} if isinstance(after, Upstream) else set()
        targets += sum(target.key not in left for target in before.targets)
        upstreams += change.action == "removed"
    return Loss(targets, contents.targets), Loss(upstreams, contents.count(UPSTREAM))
