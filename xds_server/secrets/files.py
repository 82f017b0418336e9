"""One secret of a directory, read and checked: ``NAME/tls.crt`` and ``NAME/tls.key``, or ``NAME/ca.crt``.

Those are the names that Kubernetes gives the files of a mounted TLS secret.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from xds_server import pem_files
from xds_server.pem_files import Signature

Kind = Literal["certificate", "ca"]
"""A certificate with its key, or certificate authorities."""
Content = tuple[bytes, ...]

FILES: Final[Mapping[Kind, tuple[str, ...]]] = {"certificate": ("tls.crt", "tls.key"), "ca": ("ca.crt",)}


def signature(directory: Path, kind: Kind, name: str) -> Signature:
    """Changes with nearly every edit of the files; empty entries stand for files that are not there."""
    return pem_files.signature(_paths(directory, kind, name))


def read(directory: Path, kind: Kind, name: str) -> Content:
    """The content of a secret's files, in the order of `FILES`. Raises PemError.

    `name` must have been checked: it becomes the name of a directory.
    """
    chain, *key = _paths(directory, kind, name)
    return pem_files.read_pair(chain, key[0]) if key else (pem_files.read_authorities(chain),)


def _paths(directory: Path, kind: Kind, name: str) -> list[Path]:
    return [directory / name / file for file in FILES[kind]]
