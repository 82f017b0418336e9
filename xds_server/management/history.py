"""Revisions: what they changed, and the ways back."""

from dataclasses import replace
from functools import partial
from typing import Any

from xds_server.catalog.calls import LONG
from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.contents import Contents, Value, read
from xds_server.catalog.errors import HistoryError, NotOwnedError
from xds_server.catalog.overrides import split_name
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.records import API, GATEWAY, OVERRIDE, UPSTREAM, Attribution, Held, Key
from xds_server.catalog.store.store import Committed
from xds_server.delivery.preview import Difference
from xds_server.management import views
from xds_server.upstreams.model import Gateway


class History:
    """The past of the catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def page(self, *, before: int | None, most: int) -> list[dict[str, Any]]:
        """Revisions from the newest back."""
        found = await self._catalog.call(partial(self._catalog.store.revisions, before=before, most=most))
        return [views.revision(one) for one in found]

    async def get(self, number: int) -> dict[str, Any]:
        """One revision, and which records it changed. Raises UnknownRecordError."""
        one = await self._catalog.committed(number)
        return {**views.revision(one.revision), "changes": views.changes(one.changes)}

    async def changed_by(self, number: int) -> Difference:
        """What one revision changed; of one that is held, what it would. Raises UnknownRecordError."""
        one = await self._catalog.committed(number)
        before = await self._catalog.call(self._catalog.store.state_at, number - 1, patience=LONG)
        return _difference(before, _after(before, one), set(one.changes))

    async def between(self, older: int, newer: int) -> Difference:
        """What lies between the states as of two revisions. Raises UnknownRecordError."""
        states = [await self._catalog.state_at(number) for number in (older, newer)]
        keys = {key for key in states[0].keys() | states[1].keys() if states[0].get(key) != states[1].get(key)}
        return _difference(states[0], states[1], keys)

    async def rollback(self, number: int, by: Attribution, *, with_overrides: bool = False) -> Outcome:
        """Go back to what was in force as of a revision, in a revision of its own. Raises a RefusedError or StoreError.

        What operators laid over targets stays as it is, unless `with_overrides`. What files define is theirs to go back with.
        """
        then = await self._catalog.state_at(number)

        def edit(contents: Contents) -> Proposal:
            wanted: dict[Key, Put] = {}
            gone: set[Key] = set()
            for key in then.keys() | contents.records.keys():
                if key[0] == OVERRIDE and not with_overrides:
                    continue
                held, there = then.get(key), contents.records.get(key)
                if held is not None and there is not None and held.entry.document == there.held.entry.document:
                    continue
                _refuse_files(contents, key, held)
                if held is not None:
                    wanted[key] = put(_value(key, held))
                else:
                    gone.add(key)
            if not with_overrides:
                # An override cannot be without its upstream.
                upstreams = {name for kind, name in gone if kind == UPSTREAM}
                gone |= {key for key in contents.records if key[0] == OVERRIDE and split_name(key[1])[0] in upstreams}
            return Proposal(by, wanted, frozenset(gone), refers_to=number)

        return await self._catalog.commit(edit)

    async def confirm(self, number: int, by: Attribution) -> Outcome:
        """Put in force what the guard held. Raises a RefusedError or StoreError."""
        one = await self._catalog.committed(number)
        if one.revision.state != "held":
            raise HistoryError(f"revision {number} does not wait to be confirmed: it is {one.revision.state}")
        entries = {key: change.entry for key, change in one.changes.items()}
        wanted = {key: Put(entry, read(key[0], entry)) for key, entry in entries.items() if entry is not None}
        gone = frozenset(key for key, entry in entries.items() if entry is None)
        as_its_source = replace(by, source=one.revision.by.source)

        def edit(_: Contents) -> Proposal:
            if number not in self._catalog.held:
                raise HistoryError(
                    f"revision {number} does not wait to be confirmed any more: its source said something newer"
                )
            return Proposal(as_its_source, wanted, gone, refers_to=number, confirmed=True)

        return await self._catalog.commit(edit)


def _refuse_files(contents: Contents, key: Key, held: Held | None) -> None:
    if contents.is_of_a_file(key):
        raise NotOwnedError(key, contents.records[key].owner)
    if held is not None and held.entry.origin != API and contents.is_watched(held.entry.origin):
        raise NotOwnedError(key, held.entry.origin)


def _after(before: dict[Key, Held], one: Committed) -> dict[Key, Held]:
    after = dict(before)
    for key, change in one.changes.items():
        after.pop(key, None)
        if change.entry is not None:
            after[key] = Held(change.entry, one.revision.number)
    return after


def _difference(before: dict[Key, Held], after: dict[Key, Held], keys: set[Key]) -> Difference:
    return Difference(_values(before, keys), _values(after, keys))


def _values(state: dict[Key, Held], keys: set[Key]) -> dict[Key, Value]:
    """Of a state the records `keys`, and those without which they cannot be understood."""
    upstreams = {split_name(name)[0] if kind == OVERRIDE else name for kind, name in keys if kind != GATEWAY}
    values = {
        key: _value(key, held)
        for key, held in state.items()
        if key in keys or (key[0] == OVERRIDE and split_name(key[1])[0] in upstreams)
    }
    forwarded = {value.upstream for value in values.values() if isinstance(value, Gateway)} | upstreams
    needed = {(UPSTREAM, name) for name in forwarded if name is not None} - values.keys()
    return values | {key: _value(key, state[key]) for key in needed if key in state}


def _value(key: Key, held: Held) -> Value:
    return read(key[0], held.entry)
