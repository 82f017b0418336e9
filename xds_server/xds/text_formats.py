"""The formats of text that a field rule can ask for by name."""

import ipaddress
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from validate import validate_pb2

Matches = Callable[[str], bool]

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LOCAL_PART: Final = re.compile(r"[^\s@<>(),;:\\\"\[\]]{1,64}")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_NOT_IN_A_URI: Final = re.compile(r"[\x00-\x20\x7f<>\"{}|\\^`]|%(?![0-9A-Fa-f]{2})")

# The last four characters before 0x7C are a range in Envoy's expression too: it lets a comma pass.
_HEADER_NAME: Final = re.compile(r":?[0-9a-zA-Z!#$%&'*+-.^_|~`]+")
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_HEADER_LENIENT: Final = re.compile(r"[^\x00\x0a\x0d]*")


def header_format(regex: int, *, strict: bool) -> tuple[Matches, str]:
    """The test for a `well_known_regex`, and the words for text that fails it.

    `strict` is the rule's own option (true unless said otherwise). Not strict: anything but NUL, CR and LF.
    """
    if not strict:
        return _whole(_HEADER_LENIENT), "must not contain NUL, CR or LF"
    if regex == validate_pb2.HTTP_HEADER_NAME:
        return _whole(_HEADER_NAME), "must be the name of an HTTP header (letters, digits and !#$%&'*+-.^_|~`)"
    return _whole(_HEADER_VALUE), "must be the value of an HTTP header (no control characters but tabs)"


def _whole(pattern: re.Pattern[str]) -> Matches:
    return lambda text: pattern.fullmatch(text) is not None


def _is_ip(text: str) -> bool:
    return _is_ipv4(text) or _is_ipv6(text)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _is_hostname(text: str) -> bool:
    return len(text) <= 253 and all(map(_LABEL.fullmatch, text.removesuffix(".").split(".")))


def _is_email(text: str) -> bool:
    local, _, host = text.rpartition("@")
    return len(text) <= 254 and _LOCAL_PART.fullmatch(local) is not None and _is_hostname(host)


def _is_uri_reference(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:
        return False
    return _NOT_IN_A_URI.search(text) is None


def _is_uri(text: str) -> bool:
    return _is_uri_reference(text) and bool(urlsplit(text).scheme)


FORMATS: Final[dict[str, tuple[Matches, str]]] = {
    "email": (_is_email, "an e-mail address"),
    "hostname": (_is_hostname, "a host name"),
    "ip": (_is_ip, "an IP address"),
    "ipv4": (_is_ipv4, "an IPv4 address"),
    "ipv6": (_is_ipv6, "an IPv6 address"),
    "uri": (_is_uri, "an absolute URI"),
    "uri_ref": (_is_uri_reference, "a URI or a path relative to one"),
    "address": (lambda text: _is_hostname(text) or _is_ip(text), "a host name or an IP address"),
    "uuid": (_whole(_UUID), "a UUID"),
}
"""By the rule's name: the test, and what it is called."""
