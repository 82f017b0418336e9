"""Definition files as a sequence of changes: what they say now against what is in force.

No clock, no process, no waiting: `scan` looks once. Three rules live here.

- **A file that breaks keeps its last good definitions**, and other files' edits go live meanwhile. Breaking includes
  clashing with another file: those whose content is not in force yet give way.
- **A file that is deleted takes its definitions with it; a root that vanishes or turns empty takes nothing.** A lost
  mount looks exactly like that, and would empty every Envoy. An explicit ``upstreams: []`` says none.
- **Nothing is in force until everything was read without a problem once.** A client takes the first answer for the whole
  truth: an Envoy that kept running while this server restarted would delete every cluster that an empty or partial answer
  lacks (xDS: "Deleting Resources").
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from xds_server.catalog.changes import Change, Definitions
from xds_server.catalog.on_disk import FilesOnDisk
from xds_server.upstreams.definition_file import DefinitionFile, FileProblem, clashes_between
from xds_server.upstreams.model import Gateway, Located, Upstream

Files = dict[str, DefinitionFile]


@dataclass(frozen=True)
class Scan:
    """What one look at the files found."""

    change: Change
    """From what was in force to what is now."""
    problems: tuple[FileProblem, ...]
    """All that is wrong now, whether or not it was before. Problems of a root have line 0."""
    ready: bool
    """Whether anything is in force: false until the first scan without a problem."""
    files: int
    """Definition files that exist."""
    upstreams: int
    """Upstreams in force."""
    gateways: int
    """Gateways in force."""


class Reader:
    """Reads `roots` (files or directories).

    `held` is what an earlier reader of the same roots has put in force, for one that takes over from it: without, a file
    that broke in its time would have no last good definitions. None: nothing was ever in force.
    """

    def __init__(self, roots: tuple[str, ...], held: Definitions | None = None) -> None:
        self._disk = FilesOnDisk(roots)
        self._ready = held is not None
        self._held = held or Definitions()
        self._good = _by_file(self._held)
        self._refused: set[str] = set()

    def scan(self) -> Scan:
        """Look at the files, and put in force what is sound. Never raises for anything that a file can hold."""
        self._disk.refresh()
        problems = [self._absent(root) for root in self._disk.listing.absent]
        wanted = self._wanted(problems)
        self._refused = _give_way(wanted, self._good, self._refused, problems)
        change = Change()
        if self._ready or not problems:
            self._ready, self._good = True, wanted
            newer = _in_force(wanted.values())
            change, self._held = self._held.difference(newer), newer
        return Scan(
            change,
            tuple(sorted(dict.fromkeys(problems))),
            self._ready,
            len(self._disk.listing.files),
            len(self._held.upstreams),
            len(self._held.gateways),
        )

    def _wanted(self, problems: list[FileProblem]) -> Files:
        """What the files ask for, each for itself: what it says, or its last good definitions."""
        contents = self._disk.contents
        wanted: Files = {}
        for path, good in self._good.items():
            if path not in contents and (reason := self._not_deleted(path)):
                wanted[path] = good
                problems.extend(reason)
        for path, content in contents.items():
            if isinstance(content, DefinitionFile):
                wanted[path] = content
            else:
                problems.extend(content)
                if path in self._good:
                    wanted[path] = self._good[path]
        return wanted

    def _absent(self, root: str) -> FileProblem:
        """What is wrong with a root that has no file, and what follows: one that is in force was read before."""
        after = "what was read from here before stays in force" if self._ready else "it is waited for"
        return FileProblem(root, 0, "", f"{self._disk.listing.absent[root]} ({after})")

    def _not_deleted(self, path: str) -> list[FileProblem]:
        """Why a file that was not found is not deleted all the same; empty when it is."""
        for root in self._disk.listing.absent:
            if PurePath(path).is_relative_to(root):
                return [self._absent(root)]
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            return [FileProblem(path, 0, "", f"{error.strerror}; its last good definitions stay in force")]
        return [FileProblem(path, 0, "", "cannot be listed any more; its last good definitions stay in force")]


def _give_way(wanted: Files, good: Files, refused: set[str], problems: list[FileProblem]) -> set[str]:
    """Settle clashes in `wanted`: files that ask for something new give way, until no clash is left. Returns which did.

    What is in force never clashes, so going back far enough always ends it. Those that were `refused` before go first: a
    file is not kept from being edited by one that claims its upstream. Whether the upstream that a gateway names is there is
    for the catalogue to say: it may come through the API.
    """
    pending = {path for path in wanted.keys() | good.keys() if _differ(wanted.get(path), good.get(path))}
    giving_way: set[str] = set()
    while pending:
        # A clash is reported at the later of two definitions: the newer claim.
        ordered = sorted(wanted.values(), key=lambda file: (file.path in refused, file.path in pending, file.path))
        clashes = [clash for clash in clashes_between(ordered) if not clash.lacks]
        if not clashes:
            break
        problems.extend(clash.problem for clash in clashes)
        involved = pending.intersection(path for clash in clashes for path in clash.paths)
        yielding = involved & refused or involved or pending
        for path in yielding:
            wanted.pop(path, None)
            if path in good:
                wanted[path] = good[path]
        pending = pending - yielding
        giving_way |= yielding
    return giving_way


def _differ(one: DefinitionFile | None, other: DefinitionFile | None) -> bool:
    """Whether two files define different things, on whatever line."""
    if one is None or other is None:
        return one is not other
    return one is not other and (_values(one.upstreams), _values(one.gateways)) != (
        _values(other.upstreams),
        _values(other.gateways),
    )


def _values(placed: Iterable[Located[Upstream]] | Iterable[Located[Gateway]]) -> list[Upstream | Gateway]:
    return sorted((each.value for each in placed), key=lambda value: value.name)


def _in_force(files: Iterable[DefinitionFile]) -> Definitions:
    definitions = Definitions()
    for file in files:
        definitions.upstreams.update((placed.value.name, placed) for placed in file.upstreams)
        definitions.gateways.update((placed.value.name, placed) for placed in file.gateways)
    return definitions


def _by_file(held: Definitions) -> Files:
    upstreams: dict[str, list[Located[Upstream]]] = {}
    gateways: dict[str, list[Located[Gateway]]] = {}
    for upstream in held.upstreams.values():
        upstreams.setdefault(upstream.source, []).append(upstream)
    for gateway in held.gateways.values():
        gateways.setdefault(gateway.source, []).append(gateway)
    return {
        path: DefinitionFile(path, tuple(upstreams.get(path, ())), tuple(gateways.get(path, ())))
        for path in upstreams.keys() | gateways.keys()
    }
