"""One secret of a directory, read and checked: ``NAME/tls.crt`` and ``NAME/tls.key``, or ``NAME/ca.crt``.

Those are the names that Kubernetes gives the files of a mounted TLS secret. What is read is never put into a message.
"""

import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

Kind = Literal["certificate", "ca"]
"""A certificate with its key, or certificate authorities."""
Content = tuple[bytes, ...]
Signature = tuple[tuple[int, ...], ...]

FILES: Final[Mapping[Kind, tuple[str, ...]]] = {"certificate": ("tls.crt", "tls.key"), "ca": ("ca.crt",)}
MAX_BYTES: Final = 1024 * 1024
"""Of one file."""
_FOUND_FOR_KEYS: Final = b"PRIVATE KEY-----"
_ENCRYPTED: Final = b"ENCRYPTED"


class SecretError(Exception):
    """A secret that cannot be used. The text is one sentence, without anything of the content."""


def signature(directory: Path, kind: Kind, name: str) -> Signature:
    """Changes with nearly every edit of the files; empty entries stand for files that are not there."""
    return tuple(_signature(directory / name / file) for file in FILES[kind])


def read(directory: Path, kind: Kind, name: str) -> Content:
    """The content of a secret's files, in the order of `FILES`. Raises SecretError.

    `name` must have been checked: it becomes the name of a directory.
    """
    paths = [directory / name / file for file in FILES[kind]]
    content = tuple(_read(path) for path in paths)
    if kind == "certificate":
        _check_pair(*paths, key=content[1])
    else:
        _check_authorities(paths[0], content[0])
    if tuple(_read(path) for path in paths) != content:  # what was checked must be what was read
        raise SecretError(f"the files of {directory / name} are being replaced")
    return content


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SecretError(f"{path} is not a file")
        if found.st_size > MAX_BYTES:
            raise SecretError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}") from None


def _check_pair(chain: Path, path: Path, *, key: bytes) -> None:
    if _FOUND_FOR_KEYS not in key:
        raise SecretError(f"{path} holds no private key in PEM")
    if _ENCRYPTED in key:
        raise SecretError(f"{path} is encrypted: there is nobody to ask for its password")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(chain, path, password=_no_password)
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        if "mismatch" in reason:
            raise SecretError(f"{path} is not the key of the certificate in {chain}") from None
        raise SecretError(f"{chain} and {path} are not a certificate and its key in PEM ({reason})") from None
    except (OSError, ValueError) as error:
        raise SecretError(f"{chain} and {path} cannot be used: {type(error).__name__}") from None


def _no_password() -> str:
    return ""  # otherwise OpenSSL asks on the terminal


def _check_authorities(path: Path, content: bytes) -> None:
    if _FOUND_FOR_KEYS in content:
        raise SecretError(f"{path} holds a private key, which has no business among certificate authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SecretError(f"{path} holds no certificates in PEM") from None


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
