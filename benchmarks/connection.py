"""One connection with one discovery stream, as an Envoy has it. No I/O: bytes go in and out, what was received is told."""

import struct
from collections.abc import Iterator

from benchmarks import http2


class StreamEndedError(Exception):
    """The server ended the stream or the connection."""


class Connection:
    """Bytes of the server in, messages out; messages in, bytes for the server out."""

    def __init__(self, path: str, authority: str) -> None:
        self._received, self._body = bytearray(), bytearray()
        self._waiting = bytearray()
        """Messages that the server's windows have no room for yet."""
        self._connection_window = self._stream_window = http2.DEFAULT_WINDOW
        self._initial = http2.DEFAULT_WINDOW
        self._taken = 0
        self.out = bytearray(http2.opening() + http2.call(path, authority))
        """What is to be sent; whoever sends takes it off."""

    def send(self, message: bytes) -> None:
        """`message`: with its length, see `http2.message`."""
        if len(message) <= http2.MAX_FRAME and not self._waiting and len(message) <= self._room:
            self._spend(len(message))
            self.out += http2.frame(http2.DATA, 0, http2.STREAM, message)
        else:
            self._waiting += message
            self._flush()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises StreamEndedError."""
        self._received += data
        for kind, flags, stream, payload in http2.frames(self._received):
            if kind == http2.DATA:
                self._body += payload
                self._take(len(payload))
                yield from http2.messages(self._body)
            elif kind == http2.SETTINGS and not flags & http2.ACK:
                self._adjust(payload)
            elif kind == http2.PING and not flags & http2.ACK:
                self.out += http2.frame(http2.PING, http2.ACK, 0, payload)
            elif kind == http2.WINDOW_UPDATE:
                self._widen(stream, struct.unpack(">I", payload)[0])
            elif kind in (http2.RST_STREAM, http2.GOAWAY):
                raise StreamEndedError(f"the server ended it: {payload!r}")
            if kind in (http2.DATA, http2.HEADERS) and flags & http2.END_STREAM:
                raise StreamEndedError(f"the server ended the stream: {payload[-300:]!r}")

    @property
    def _room(self) -> int:
        return min(self._connection_window, self._stream_window)

    def _spend(self, size: int) -> None:
        self._connection_window -= size
        self._stream_window -= size

    def _flush(self) -> None:
        while self._waiting and self._room > 0:
            part = bytes(self._waiting[: min(self._room, http2.MAX_FRAME)])
            del self._waiting[: len(part)]
            self._spend(len(part))
            self.out += http2.frame(http2.DATA, 0, http2.STREAM, part)

    def _adjust(self, settings: bytes) -> None:
        self.out += http2.frame(http2.SETTINGS, http2.ACK, 0, b"")
        initial = http2.initial_window(settings)
        if initial is not None:
            self._stream_window += initial - self._initial
            self._initial = initial
            self._flush()

    def _widen(self, stream: int, more: int) -> None:
        if stream:
            self._stream_window += more
        else:
            self._connection_window += more
        self._flush()

    def _take(self, size: int) -> None:
        """Give the server back its window, long before it is used up."""
        self._taken += size
        if self._taken > http2.WINDOW // 4:
            self.out += http2.window_update(0, self._taken) + http2.window_update(http2.STREAM, self._taken)
            self._taken = 0
