"""Definition files: where they are, and from their bytes to definitions or to all of their problems.

Two stages, each in modules of its own: text to plain data with lines (`yaml_text`, `json_text`), then data to
definitions (`definition_file`, `checking`, the model). What is returned can be pickled, because the server parses in a
child process.
"""

import os
import stat
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from xds_server.upstreams.definition_file import DefinitionFile, FileProblem, Inspect, clashes_between, from_tree
from xds_server.upstreams.json_text import read_json
from xds_server.upstreams.model import Problem
from xds_server.upstreams.tree import Tree, UnreadableError
from xds_server.upstreams.yaml_text import read_yaml

__all__ = [
    "MAX_FILE_BYTES",
    "DefinitionFile",
    "FileProblem",
    "check_together",
    "files_under",
    "find_files",
    "load",
    "locate",
    "parse",
    "parse_tree",
    "read_bytes",
    "read_file",
]

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Larger files are refused: a definition of an upstream with ten targets takes about 600 bytes."""

_READERS = {".yaml": read_yaml, ".yml": read_yaml, ".json": read_json}


def find_files(root: Path | str) -> list[Path]:
    """The definition files of a tree (``*.yaml``, ``*.yml``, ``*.json``), sorted; or `root` itself when it is a file.

    Names that begin with ``.`` (Kubernetes' ``..data``, editors' copies) or end with ``~`` are left out. Links are
    followed, but no directory is entered twice. Raises OSError when `root` or a directory in it cannot be listed.
    """
    root = Path(root)
    if not stat.S_ISDIR(root.stat().st_mode):
        return [root]
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        status = directory.stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        entries = [
            name for name in sorted(os.listdir(directory)) if not name.startswith(".") and not name.endswith("~")
        ]
        inner = [directory / name for name in entries if os.path.isdir(directory / name)]
        found += [directory / name for name in entries if Path(name).suffix.lower() in _READERS]
        waiting += reversed(inner)
    return sorted(found)


def read_file(path: Path | str, inspect: Inspect | None = None) -> DefinitionFile | list[FileProblem]:
    """Read one file and `parse` it. Never raises: what cannot be read is a problem as well."""
    data = read_bytes(path)
    return parse(data, str(path), inspect) if isinstance(data, bytes) else data


def read_bytes(path: Path | str) -> bytes | list[FileProblem]:
    """The content of one file, which may still be longer than `MAX_FILE_BYTES` by one. Never raises."""
    name = str(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return [FileProblem(name, 0, "", f"cannot be read: it is {what}")]
        if status.st_size > MAX_FILE_BYTES:
            return [_too_large(name, status.st_size)]
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        return [_unreadable(name, error)]


def parse(data: bytes, path: str, inspect: Inspect | None = None) -> DefinitionFile | list[FileProblem]:
    """Read the definitions in `data`, the content of the file `path`, whose suffix tells the format. Never raises.

    Returns problems when there is at least one, sorted by line: also two definitions in the file that clash. An upstream
    that a gateway names may be in another file, so that is not looked at here but in `check_together`.

    `inspect` finds what is wrong with a definition beyond its format. It is also given what is left of a definition without
    its wrong parts, so that everything is told at once; what it raises is not caught.
    """
    tree = parse_tree(data, path)
    return from_tree(tree, path, inspect) if isinstance(tree, Tree) else tree


def parse_tree(data: bytes, path: str) -> Tree | list[FileProblem]:
    """Read `data` as `parse` does, but only into plain data with the line of each part. Never raises."""
    if len(data) > MAX_FILE_BYTES:
        return [_too_large(path, len(data))]
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        return [FileProblem(path, 0, "", f"not a definition file: its name must end in {', '.join(_READERS)}")]
    try:
        return reader(_text(data))
    except UnreadableError as error:
        return [FileProblem(path, error.line, "", error.message)]


def check_together(files: Iterable[DefinitionFile]) -> list[tuple[FileProblem, frozenset[str]]]:
    """What is wrong between the definitions of all `files`, each with the paths that have a part in it."""
    return [(clash.problem, clash.paths) for clash in clashes_between(list(files))]


def load(
    paths: Iterable[Path | str], inspect: Inspect | None = None, elsewhere: Container[str] = ()
) -> tuple[list[DefinitionFile], list[FileProblem]]:
    """Read all files under all `paths` and check them together; `inspect` as for `parse`. Never raises itself.

    A path that does not exist, or that holds no definition file, is a problem. While a file cannot be read, it is not
    reported that an upstream named by a gateway does not exist. `elsewhere`: upstreams that are defined through the API.
    """
    files: list[DefinitionFile] = []
    problems: list[FileProblem] = []
    for path in files_under(paths, problems):
        result = read_file(path, inspect)
        if isinstance(result, DefinitionFile):
            files.append(result)
        else:
            problems += result
    complete = not problems
    problems += [
        clash.problem
        for clash in clashes_between(files)
        if not clash.lacks or (complete and clash.lacks not in elsewhere)
    ]
    return files, sorted(problems)


def locate(path: Path | str, found: Iterable[Problem]) -> list[FileProblem]:
    """Say where in a file what was `found` in it is written, sorted by line. Locations begin at the top of the file.

    The file is read once more: lines are not kept, as of a sound file hardly anybody asks for them. Should it have changed
    since, lines may be wrong.
    """
    try:
        tree = _READERS[Path(path).suffix.lower()](_text(Path(path).read_bytes()))
    except (OSError, UnreadableError):
        return [FileProblem(str(path), 0, problem.field, problem.message) for problem in found]
    placed = [FileProblem(str(path), tree.line(each.location), each.field, each.message) for each in found]
    return sorted(placed, key=lambda problem: problem.line)


def files_under(paths: Iterable[Path | str], problems: list[FileProblem]) -> Iterator[Path]:
    """The definition files under all `paths`, each once. What cannot be listed is added to `problems`."""
    seen: set[str] = set()
    for root in paths:
        try:
            found = find_files(root)
        except (OSError, ValueError) as error:
            problems.append(_unreadable(str(root), error))
            continue
        if not found:
            problems.append(FileProblem(str(root), 0, "", "holds no definition file (*.yaml, *.yml or *.json)"))
        for path in found:
            if (key := os.path.abspath(path)) not in seen:
                seen.add(key)
                yield path


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(line, f"not UTF-8: byte 0x{data[error.start]:02x} cannot stand here") from None


def _too_large(path: str, size: int) -> FileProblem:
    limit = MAX_FILE_BYTES >> 20
    message = f"too large: {size / (1 << 20):.1f} MiB, at most {limit} MiB are read; split it into several files"
    return FileProblem(path, 0, "", message)


def _unreadable(path: str, error: OSError | ValueError) -> FileProblem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return FileProblem(path, 0, "", f"cannot be read: {reason}")
