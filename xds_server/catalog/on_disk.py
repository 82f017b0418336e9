"""The definition files on disk as they are now: which there are, and what each says, read again only when it changed.

Knows nothing of what was served before: `reader` decides what becomes of a file that broke or went missing.
"""

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from xds_server.upstreams.documents import MAX_FILE_BYTES, DefinitionFile, FileProblem, find_files, parse, read_file
from xds_server.upstreams.model import Gateway, Problem, Upstream

ROUNDS: Final = 5
"""How often a tree that changes while it is read is read again at once; after that, its next event mends it."""
SETTLED: Final = 2_000_000_000
"""Nanoseconds that a file must have been left alone before its signature is believed: file systems keep times in steps
of up to 2 s, so a second edit inside a step, of equal length, would show nowhere but in the content."""

Signature = tuple[int, ...]


class Listing(NamedTuple):
    """Every definition file that exists, by path, and why each root that has none has none: missing, empty or unreadable."""

    files: dict[str, Signature]
    absent: dict[str, str]


class _Known(NamedTuple):
    signature: Signature
    digest: bytes
    settled: bool
    content: DefinitionFile | list[FileProblem]


class FilesOnDisk:
    """What the files under `roots` (files or directories, as the operator wrote them) say."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.roots = roots
        self.listing = Listing({}, {})
        self._known: dict[str, _Known] = {}

    @property
    def contents(self) -> dict[str, DefinitionFile | list[FileProblem]]:
        """Each existing file's definitions, or what is wrong with it."""
        return {path: known.content for path, known in self._known.items()}

    def refresh(self) -> None:
        """Look at every file and read those that changed, until nothing changes meanwhile.

        Looking twice is what makes a rename, or Kubernetes' swap of a whole directory, one step: without it a scan could
        see an upstream neither in the file that it left nor in the one that it went to, and remove it from every Envoy.
        """
        listing = self._list()
        for _ in range(ROUNDS):
            self._read(listing)
            before, listing = listing, self._list()
            if listing == before:
                break

    def _list(self) -> Listing:
        files: dict[str, Signature] = {}
        absent: dict[str, str] = {}
        for root in self.roots:
            try:
                found = {str(path): _signature(str(path)) for path in find_files(root)}
            except OSError as error:
                absent[root] = f"cannot be read: {error.strerror}: {error.filename}"
                continue
            if not found:
                absent[root] = "holds no definition file; to serve nothing, write one with upstreams: []"
            files.update(found)
        return Listing(files, absent)

    def _read(self, listing: Listing) -> None:
        self.listing = listing
        self._known = {path: self._look(path, signature) for path, signature in listing.files.items()}

    def _look(self, path: str, signature: Signature) -> _Known:
        known = self._known.get(path)
        if known and known.settled and known.signature == signature:
            return known
        settled = bool(signature) and time.time_ns() - max(signature[3:5]) > SETTLED
        data = _data(path, signature)
        if data is None:
            return _Known(signature, b"", settled, read_file(path))  # which says what is wrong with it
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if known and known.digest == digest:
            return known._replace(signature=signature, settled=settled)
        return _Known(signature, digest, settled, parse(data, path, _secrets))


def _secrets(definition: Upstream | Gateway) -> Sequence[Problem]:
    """Where a definition holds a secret: what is read here goes into the store, and stays in its history."""
    if isinstance(definition, Gateway) or not definition.envoy:
        return ()
    from xds_server.upstreams.translate.sensitive import in_definition  # late: with it come Envoy's messages

    return in_definition(definition.envoy)


def _signature(path: str) -> Signature:
    """Changes with nearly every edit; empty for what cannot be looked at, such as a link to nowhere."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)


def _data(path: str, signature: Signature) -> bytes | None:
    """The content; None for what is too large, cannot be read or is not a plain file."""
    if not signature or signature[2] > MAX_FILE_BYTES or not stat.S_ISREG(signature[5]):
        return None
    try:
        return Path(path).read_bytes()
    except OSError:
        return None
