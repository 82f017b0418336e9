"""Which resources a client refuses, and how it is found out which of a rejected response these are. No I/O.

A NACK is for a whole response, of which the client may have applied all but the culprit, or nothing (conformance S23). Where
its words name the culprit, the others are sent again without it. Where they do not, the others are found by sending halves:
what is accepted is good, what is rejected alone is not. No more than `MOST_TRIES` responses follow from one rejection.
"""

from collections.abc import Callable, Iterable, Set
from typing import Final

MOST_TRIES: Final = 8


class _Case:
    """One rejection that is looked into. One of its parts is tried at a time."""

    __slots__ = ("left", "rest", "sure", "trial", "untried", "words")

    def __init__(self, words: str, untried: Set[str] = frozenset()) -> None:
        self.words = words
        self.left = MOST_TRIES
        """Responses that may still follow."""
        self.trial: set[str] = set()
        """What is sent next, or under way."""
        self.rest: set[str] = set()
        """If `trial` is accepted, the culprit is among these."""
        self.sure = True
        """Nothing of `trial` and `rest` went its own way since they were rejected together."""
        self.untried = set(untried)
        """What nothing speaks against."""

    @property
    def names(self) -> set[str]:
        return self.trial | self.rest | self.untried

    def forget(self, name: str) -> None:
        self.sure = self.sure and name not in self.trial and name not in self.rest
        for names in (self.trial, self.rest, self.untried):
            names.discard(name)


class Quarantine:
    """What one client refuses of one type on one stream."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        """The client's words by name: not sent again before the resource changes, goes, or is asked for anew."""
        self._fresh: dict[str, str] = {}
        """Of `refused`, what nobody was told of yet."""
        self._released: set[str] = set()
        """What is refused no more, of which nobody was told yet."""
        self._held: list[set[str]] = []
        """Refused without proof, together: where one of them changes, the others are worth another try."""
        self._cases: list[_Case] = []
        self._under_way: tuple[str, _Case] | None = None

    @property
    def due(self) -> bool:
        """Whether there is something to try now."""
        return bool(self._cases) and self._under_way is None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is refused or looked into, as nearly always."""
        return not (self.refused or self._cases or self._under_way)

    def looks_into(self, names: Iterable[str]) -> bool:
        """Whether any of `names` is yet to be tried again."""
        return any(not case.names.isdisjoint(names) for case in self._open())

    def take(self, nonce: str) -> set[str]:
        """What the response `nonce` is to try."""
        case = self._cases.pop(0)
        case.left -= 1
        self._under_way = nonce, case
        return set(case.trial)

    # What clients say

    def accepted(self, nonce: str, names: Set[str]) -> None:
        """A response was accepted; `names`: what is in it and has not changed since."""
        for name in names & self.refused.keys():
            self._release(name)
        case = self._answered(nonce)
        for other in self._open():
            for name in names:
                other.forget(name)
        if case is not None:
            rest, case.trial, case.rest = case.rest, set(), set()
            self._blame(case, rest)
        self._tidy()

    def rejected(self, nonce: str, names: Set[str], culprits: Set[str], words: str, *, whole: bool) -> None:
        """A response was rejected. `culprits`: of `names`, and of what has changed since, those that the words name.

        `names`: what is in it, is still wanted, and has not changed since. `whole`: that is all that was in it.
        """
        case = self._answered(nonce) or _Case(words)
        case.words, case.sure = words, True
        whole = whole and names.isdisjoint(self.refused)
        names = names - self.refused.keys()
        for other in self._open():
            for name in names:
                other.forget(name)
        case.untried |= case.rest  # nothing speaks against these: the culprit is elsewhere
        case.trial, case.rest = set(), set()
        blamed = names & culprits
        for name in blamed:
            self.refuse(name, words)
        if culprits or not whole:
            case.untried |= names - blamed
            self._blame(case, set())
        else:
            self._blame(case, names)
        self._tidy()

    def refuse(self, name: str, words: str) -> None:
        """Keep `name` back from now on."""
        self.refused[name] = self._fresh[name] = words
        self._released.discard(name)

    def lost(self, is_awaited: Callable[[str], bool]) -> None:
        """The answer to a trial may not be told apart any more: it is tried again."""
        if self._under_way is not None and not is_awaited(self._under_way[0]):
            case = self._under_way[1]
            self._under_way = None
            self._cases.insert(0, case)
            self._tidy()

    def news(self) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Since the last time: names that are refused no more, and those that are, by the client's words."""
        if not (self._released or self._fresh):
            return (), {}
        released, by_words = tuple(sorted(self._released)), dict[str, list[str]]()
        for name in sorted(self._fresh):
            by_words.setdefault(self._fresh[name], []).append(name)
        self._released.clear()
        self._fresh.clear()
        return released, {words: tuple(names) for words, names in by_words.items()}

    # What becomes of resources

    def moved(self, name: str) -> None:
        """`name` is sent anew (it changed, or is asked for), or is gone. What was held with it is tried once more."""
        if self.is_idle:
            return
        together = [held for held in self._held if name in held]
        self._held = [held for held in self._held if name not in held]
        words = self.refused.get(name, "")
        self._release(name)
        for case in self._open():
            case.forget(name)
        for held in together:
            for other in held:
                self._release(other)
            self._cases.append(_Case(words, held - {name}))
        self._tidy()

    def keep(self, wants: Callable[[str], bool]) -> None:
        """The subscription became smaller."""
        for name in [name for name in self.refused if not wants(name)]:
            self._release(name)
        for case in self._open():
            for name in [name for name in case.names if not wants(name)]:
                case.forget(name)
        for held in self._held:
            held.intersection_update([name for name in held if wants(name)])
        self._tidy()

    # How it is found out

    def _blame(self, case: _Case, suspects: Set[str]) -> None:
        """One of `suspects` is to blame: refuse it, or split them. Then try what is left of the case."""
        if not case.sure:
            case.untried |= suspects
        elif len(suspects) == 1:
            self.refuse(next(iter(suspects)), case.words)
        elif suspects and (case.left > 1 or not case.untried):
            ordered = sorted(suspects)
            case.trial = set(ordered[: len(ordered) // 2])
            case.rest = set(ordered[len(ordered) // 2 :])
        else:
            self._hold(case, suspects)  # the last response is for what may be good
        case.sure = True
        self._cases.append(case)

    def _tidy(self) -> None:
        """Every case that waits has something to try, and responses to try it with."""
        for case in [*self._cases]:
            if not case.trial:
                case.trial, case.rest, case.untried = case.untried | case.rest, set(), set()
                case.sure = True
            if not case.trial or not case.left:
                self._cases.remove(case)
                self._hold(case, case.names)
        self._held = [held for held in self._held if len(held) > 1]

    def _hold(self, case: _Case, names: Set[str]) -> None:
        for name in names:
            self.refuse(name, case.words)
        if len(names) > 1:
            self._held.append(set(names))

    def _answered(self, nonce: str) -> _Case | None:
        if self._under_way is None or self._under_way[0] != nonce:
            return None
        case = self._under_way[1]
        self._under_way = None
        return case

    def _open(self) -> list[_Case]:
        return [*self._cases, self._under_way[1]] if self._under_way is not None else self._cases

    def _release(self, name: str) -> None:
        if self.refused.pop(name, None) is None:
            return
        if self._fresh.pop(name, None) is None:
            self._released.add(name)
        for held in self._held:
            held.discard(name)
