"""Definition files as the document that a server takes, and from what it says of that back to file and line."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from xds_server.cli.problems import Wrong
from xds_server.upstreams.definition_file import FileProblem, outline
from xds_server.upstreams.documents import files_under, parse_tree, read_bytes
from xds_server.upstreams.model import Problem
from xds_server.upstreams.tree import Tree

STDIN: Final = Path("-")
FIELDS: Final = ("upstreams", "gateways")


class _Place(NamedTuple):
    path: str
    tree: Tree
    number: int
    """Of the definition in the list of its file."""


class Written:
    """All definitions of some files, in their order. What only the server can judge is left to it."""

    def __init__(self) -> None:
        self.document: dict[str, list[Any]] = {}
        """What the server takes."""
        self.problems: list[FileProblem] = []
        """What is wrong with the files themselves: with any, the document is not whole."""
        self._places: dict[str, list[_Place]] = {}

    def read(self, paths: Iterable[Path]) -> None:
        """Add everything under `paths`; `-` is stdin, in YAML or JSON."""
        for path in paths:
            if path == STDIN:
                self.add(sys.stdin.buffer.read(), "stdin", ".yaml")  # JSON is YAML too
            else:
                for file in files_under([path], self.problems):
                    data = read_bytes(file)
                    if isinstance(data, bytes):
                        self.add(data, str(file))
                    else:
                        self.problems += data

    def add(self, data: bytes, path: str, suffix: str = "") -> None:
        """Add the content of one file. `suffix`: of its name, where it has none."""
        tree = parse_tree(data, path + suffix)
        if not isinstance(tree, Tree):
            self.problems += [problem._replace(path=path) for problem in tree]
            return
        if found := outline(tree, path):
            self.problems += found
            return
        for field in FIELDS:
            definitions = tree.data.get(field)
            if isinstance(definitions, list):
                self.document.setdefault(field, []).extend(definitions)
                places = self._places.setdefault(field, [])
                places += [_Place(path, tree, index) for index in range(len(definitions))]

    def place(self, kind: str, name: str) -> str | None:
        """`file:line` of an upstream or a gateway; None for one that is in none of the files."""
        for number, definition in enumerate(self.document.get(f"{kind}s", ())):
            if isinstance(definition, dict) and definition.get("name") == name:
                path, tree, index = self._places[f"{kind}s"][number]
                return f"{path}:{tree.line((f'{kind}s', index))}"
        return None

    def locate(self, wrong: Wrong) -> FileProblem | None:
        """Where in the files it is that the server finds something wrong; None for what is in none of them."""
        field, _, rest = wrong.pointer.removeprefix("/").partition("/")
        number, _, inner = rest.partition("/")
        places = self._places.get(field, [])
        if not number.isdecimal() or int(number) >= len(places):
            return None
        path, tree, index = places[int(number)]
        location: list[str | int] = [field, index]
        data = tree.data[field][index]
        for part in inner.split("/") if inner else ():
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(data, list) and name.isdecimal() and int(name) < len(data):
                location.append(int(name))
                data = data[int(name)]
            else:
                location.append(name)
                data = data.get(name) if isinstance(data, dict) else None
        return FileProblem(path, tree.line(tuple(location)), Problem(tuple(location), "").field, wrong.detail)
