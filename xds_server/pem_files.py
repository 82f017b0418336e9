"""Certificates with their keys, and certificate authorities, in PEM files: read, and checked before anybody uses them.

What is read is never put into a message.
"""

import ssl
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

Signature = tuple[tuple[int, ...], ...]

MAX_BYTES: Final = 1024 * 1024
"""Of one file."""
_FOUND_FOR_KEYS: Final = b"PRIVATE KEY-----"
_ENCRYPTED: Final = b"ENCRYPTED"


class PemError(Exception):
    """Files that cannot be used. The text is one sentence, without anything of their content."""


def signature(paths: Iterable[Path]) -> Signature:
    """Changes with nearly every edit of the files; empty entries stand for files that are not there."""
    return tuple(_signature(path) for path in paths)


def read_pair(chain: Path, key: Path, context: ssl.SSLContext | None = None) -> tuple[bytes, bytes]:
    """A certificate with its chain, and its key. Raises PemError.

    `context`: what they are loaded into as well; of no use any more when this raises.
    """
    content = read_file(chain), read_file(key)
    _check_pair(chain, key, content[1], context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if (read_file(chain), read_file(key)) != content:  # what was checked must be what was read
        raise PemError(f"{chain} and {key} are being replaced")
    return content


def read_authorities(path: Path, context: ssl.SSLContext | None = None) -> bytes:
    """Certificates of authorities. Raises PemError. `context`: what is made to trust them as well."""
    content = read_file(path)
    if _FOUND_FOR_KEYS in content:
        raise PemError(f"{path} holds a private key, which has no business among certificate authorities")
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise PemError(f"{path} holds no certificates in PEM") from None
    return content


def read_file(path: Path) -> bytes:
    """All of a file, unchecked. Raises PemError."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise PemError(f"{path} is not a file")
        if found.st_size > MAX_BYTES:
            raise PemError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise PemError(f"{path} cannot be read: {error.strerror}") from None


def _check_pair(chain: Path, path: Path, key: bytes, context: ssl.SSLContext) -> None:
    if _FOUND_FOR_KEYS not in key:
        raise PemError(f"{path} holds no private key in PEM")
    if _ENCRYPTED in key:
        raise PemError(f"{path} is encrypted: there is nobody to ask for its password")
    try:
        context.load_cert_chain(chain, path, password=_no_password)
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        if "mismatch" in reason:
            raise PemError(f"{path} is not the key of the certificate in {chain}") from None
        why = f" ({reason})" if reason else ""  # OpenSSL has none for a file without any PEM
        raise PemError(f"{chain} and {path} are not a certificate and its key in PEM{why}") from None
    except (OSError, ValueError) as error:
        raise PemError(f"{chain} and {path} cannot be used: {type(error).__name__}") from None


def _no_password() -> str:
    return ""  # otherwise OpenSSL asks on the terminal


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
