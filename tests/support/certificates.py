"""Authorities made for one test, and certificates of theirs in files that can be replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    """Paths of a certificate and its key."""

    cert: Path
    key: Path

    def content(self) -> tuple[bytes, bytes]:
        return self.cert.read_bytes(), self.key.read_bytes()


class Authority:
    """A certificate authority of which nobody has heard."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.pem = self._ca.cert_pem.bytes()

    def write(self, path: Path) -> Path:
        """Put its certificate into a file."""
        replace(path, self.pem)
        return path

    def issue(self, path: Path, *names: str) -> Pair:
        """A new certificate for DNS names and addresses, in ``path.pem`` and ``path.key``, whatever is there."""
        issued = self._ca.issue_cert(*names)
        pair = Pair(path.with_suffix(".pem"), path.with_suffix(".key"))
        replace(pair.key, issued.private_key_pem.bytes())
        replace(pair.cert, b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        return pair


def replace(path: Path, content: bytes) -> None:
    """Write a file as tools do that renew certificates: beside, then renamed over the old one."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)
