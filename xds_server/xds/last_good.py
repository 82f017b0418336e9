"""Of a full set: what its client accepted last, and what stands in for what it refuses. No I/O.

In state-of-the-world responses for clusters and listeners, absent means deleted (conformance S42). So what a client refuses can
be kept back only where it is known what the client holds in its place. Snapshots share what did not change, so that keeping
the last accepted one costs little.
"""

from collections.abc import Iterable, Mapping, Set

from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot


class LastGood:
    """What a client holds of one type, as far as it said so."""

    def __init__(self, type_url: str) -> None:
        self.stand_ins: dict[str, Resource | None] = {}
        """For what the client refuses: the version that it holds, or None where it holds none."""
        self.missing: dict[str, Resource] = {}
        """What the client refuses and nothing stands in for, as it is not known what the client holds."""
        self._type_url = type_url
        self._accepted: Snapshot | None = None
        """The last set that was accepted as a whole; None when that is not known."""
        self._names: frozenset[str] | None = None
        """What of it the client asked for; None for all of it."""
        self._complete = False
        """What is not in it the client did not hold then."""
        self._unproven: dict[str, set[str]] = {}
        """Versions by name that were sent since, and that the client may hold or not."""
        self._sent: tuple[Snapshot, tuple[str, ...]] | None = None
        """The response that waits for its answer, and what was new in it."""
        self._said = ""
        """What was sent last, whatever the client said to it."""
        self._again: set[str] = set()
        """What the client refused and was gone since: it is sent anew when it comes back, the same or not."""

    def begin(self, accepted: Snapshot, *, complete: bool) -> None:
        """The client says what it holds. `complete`: and it holds no more than that."""
        self._accepted, self._names, self._complete = accepted, None, complete

    def start_over(self) -> None:
        """The client holds nothing."""
        self.stand_ins.clear()
        self.missing.clear()
        self._unproven.clear()
        self._sent = None
        self.begin(Snapshot.of(), complete=True)

    def view(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the stand-ins in their places."""
        if not self.stand_ins:
            return snapshot
        there = [held for held in self.stand_ins.values() if held is not None]
        absent = [(self._type_url, name) for name, held in self.stand_ins.items() if held is None]
        return snapshot.only(self._type_url).change(there, absent)

    def sent(self, view: Snapshot, leaving: Mapping[str, Resource], new: Iterable[str]) -> None:
        """A response goes out with `view` and with what is about to leave it. `new`: what it brings."""
        self._doubt(())
        whole = view.only(self._type_url).change(leaving.values())
        self._sent = whole, tuple(new)
        self._said = whole.content(self._type_url)
        self._again = {name for name in self._again if view.get(self._type_url, name) is None}

    def said(self, view: Snapshot, leaving: Mapping[str, Resource]) -> bool:
        """Whether the last response held just this: what was refused has become what was put in its place, say."""
        if any(view.get(self._type_url, name) is not None for name in self._again):
            return False
        return self._said == view.change(leaving.values()).content(self._type_url)

    def accepted(self, names: frozenset[str] | None) -> None:
        """The last response was accepted. `names`: all that the client asks for; None for everything."""
        if self._sent is not None:
            self._accepted, self._names, self._complete = self._sent[0], names, True
            self._sent = None
        self.missing.clear()
        self._unproven.clear()

    def forget(self, name: str) -> None:
        """`name` changed, or is gone: the client may take it now."""
        self.stand_ins.pop(name, None)
        self.missing.pop(name, None)

    def gone(self, name: str) -> None:
        """`name` is no more. A client that refused it and holds none of it is not told, and is to try it when it comes back."""
        if name in self.stand_ins and self.stand_ins[name] is None:
            self._again.add(name)

    def candidates(self) -> tuple[str, ...]:
        """What the client may mean when it refuses the last response: all that it has not accepted yet."""
        new = self._sent[1] if self._sent is not None else ()
        return tuple(sorted({*new, *self._unproven, *self.stand_ins}))

    def refused(self, culprits: Iterable[str], current: Snapshot) -> list[str]:
        """The last response was rejected for the sake of `culprits`. Returns those that have a stand-in from now on."""
        if self._sent is None:
            return []
        view, _ = self._sent
        self._doubt(culprits)
        replaced = []
        for name in culprits:
            resource = view.get(self._type_url, name)
            if resource is None or name in self.stand_ins or current.get(self._type_url, name) != resource:
                continue
            held = self._accepted.get(self._type_url, name) if self._accepted and self._asked_for(name) else None
            if held is None and (not self._complete or self._unproven.get(name, set()) - {resource.version}):
                self.missing[name] = resource  # it may hold one, and absence would delete that
            elif held != resource:
                self._replace(resource, held)
                replaced.append(name)
        self._unproven = {name: versions for name, versions in self._unproven.items() if versions}
        return replaced

    def found(self, refused: Resource, older: Resource) -> bool:
        """`refused` was `older` before, as its history says: returns whether that stands in for it from now on."""
        if self.missing.get(refused.name) != refused or older == refused:
            return False
        del self.missing[refused.name]
        self._replace(refused, older)
        return True

    def _replace(self, refused: Resource, held: Resource | None) -> None:
        self.stand_ins[refused.name] = held
        self._unproven[refused.name] = self._unproven.get(refused.name, set()) - {refused.version}

    def lacks(self, view: Snapshot, names: Set[str] | None) -> bool:
        """Whether the client may hold anything else than what `view` has under `names`; None for all of it."""
        if self._accepted is None or self._unproven or self._sent is not None:
            return True
        if names is not None:
            held = ((self._accepted.get(self._type_url, name), view.get(self._type_url, name)) for name in names)
            asked_anew = self._names is not None and not names <= self._names
            return asked_anew or any(old != new for old, new in held)
        return self._accepted.content(self._type_url) != view.content(self._type_url)

    def keep(self, names: Iterable[str]) -> None:
        """The subscription became smaller: only these are wanted."""
        names = frozenset(names)
        self._names = names if self._names is None else self._names & names
        self._unproven = {name: versions for name, versions in self._unproven.items() if name in names}
        self.stand_ins = {name: held for name, held in self.stand_ins.items() if name in names}
        self.missing = {name: refused for name, refused in self.missing.items() if name in names}

    def _asked_for(self, name: str) -> bool:
        return self._names is None or name in self._names

    def _doubt(self, culprits: Iterable[str]) -> None:
        """The last response was not accepted, and the client may have applied all of it but the culprits."""
        if self._sent is None:
            return
        (view, new), self._sent = self._sent, None
        for name in set(new).difference(culprits):
            if (resource := view.get(self._type_url, name)) is not None:
                self._unproven.setdefault(name, set()).add(resource.version)
