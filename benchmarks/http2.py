"""As much of HTTP/2 as one gRPC stream from one client needs, and no more: pure functions on bytes.

A gRPC library in Python would be a large part of what is measured. This costs a quarter, or less, of what the server does for a
message. What is left out: more than one stream on a connection, padding, and reading headers.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
STREAM: Final = 1
"""The number of the only stream."""
WINDOW: Final = 2**31 - 1
"""The most that may be under way."""
DEFAULT_WINDOW: Final = 65_535
MAX_FRAME: Final = 16_384
"""The longest frame that a peer takes unless it says otherwise."""
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW_SIZE: Final = 4
_MAX_FRAME_SIZE: Final = 5
_LONGEST: Final = 2**24 - 1


class Frame(NamedTuple):
    """One frame without its header."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """The bytes of a frame."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def frames(buffer: bytearray) -> Iterator[Frame]:
    """Take all complete frames off the front of a buffer."""
    at = 0
    while len(buffer) - at >= 9:
        high, low, kind, flags, stream = struct.unpack_from(">HBBBI", buffer, at)
        end = at + 9 + (high << 8 | low)
        if len(buffer) < end:
            break
        yield Frame(kind, flags, stream, bytes(buffer[at + 9 : end]))
        at = end
    del buffer[:at]


def opening() -> bytes:
    """What a client begins with: windows that never hold anything up, and frames of any length."""
    settings = struct.pack(">HIHI", _INITIAL_WINDOW_SIZE, WINDOW, _MAX_FRAME_SIZE, _LONGEST)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + window_update(0, WINDOW - DEFAULT_WINDOW)


def window_update(stream: int, more: int) -> bytes:
    """Let the peer send `more` bytes."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def call(path: str, authority: str) -> bytes:
    """The headers of a gRPC call."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return frame(HEADERS, END_HEADERS, STREAM, b"".join(_literal(*field) for field in fields.items()))


def initial_window(settings: bytes) -> int | None:
    """The window of a new stream that a SETTINGS frame says; None when it says nothing of it."""
    for name, value in struct.iter_unpack(">HI", settings):
        if name == _INITIAL_WINDOW_SIZE:
            return int(value)
    return None


def message(body: bytes) -> bytes:
    """A gRPC message with its length."""
    return struct.pack(">BI", 0, len(body)) + body


def messages(buffer: bytearray) -> Iterator[bytes]:
    """Take all complete gRPC messages off the front of a buffer."""
    at = 0
    while len(buffer) - at >= 5:
        _, length = struct.unpack_from(">BI", buffer, at)
        if len(buffer) < at + 5 + length:
            break
        yield bytes(buffer[at + 5 : at + 5 + length])
        at += 5 + length
    del buffer[:at]


def _literal(name: str, value: str) -> bytes:
    """A header field, literally and not indexed (RFC 7541, 6.2.2). Lengths here stay below 127."""
    text = name.encode(), value.encode()
    return b"\0" + b"".join(bytes((len(each),)) + each for each in text)
