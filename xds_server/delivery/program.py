"""Which program this is: a hash that differs wherever a definition may become something else."""

import sys
from hashlib import blake2b
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Final

_LIBRARIES: Final = ("xds-protos", "protobuf", "pydantic", "pydantic-core")
_ASIDE: Final = ("cli", "management", "testing")
"""Parts that make nothing of definitions."""


def fingerprint() -> bytes:
    """Of this package's own text, and of the versions of what it makes messages with. 16 bytes."""
    digest = blake2b(digest_size=16)
    root = resources.files("xds_server")
    _add(digest, root)
    for library in _LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\0".encode())
    digest.update(sys.version.encode())
    return digest.digest()


def _add(digest: blake2b, directory: Traversable) -> None:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".py"):
            text = entry.read_bytes()
            digest.update(f"{entry.name} {len(text)}\0".encode())
            digest.update(text)
        elif entry.name not in _ASIDE and entry.is_dir():
            digest.update(f"{entry.name}/\0".encode())
            _add(digest, entry)
