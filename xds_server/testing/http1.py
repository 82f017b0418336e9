"""As much of HTTP/1.1 as backends and loads need, and cheap: heads by line, bodies by length or in chunks."""

from asyncio import StreamReader
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 1 << 20
"""Longest head that is read, in bytes."""


@dataclass(frozen=True)
class Head:
    """Start line and header fields of a request or an answer."""

    start: str
    headers: Mapping[str, str]
    """Names in lower case. Of a repeated field the last one counts."""

    @property
    def target(self) -> str:
        """What a request asks for. Raises ValueError if the start line is not that of a request."""
        _, target, _ = self.start.split(" ")
        return target

    @property
    def status(self) -> int:
        """The status of an answer. Raises ValueError if the start line is not that of an answer."""
        _, status, *_ = self.start.split(" ", 2)
        return int(status)

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again."""
        return self.headers.get("connection", "").lower() != "close" and "HTTP/1.0" not in self.start


async def read_head(reader: StreamReader) -> Head:
    """Raises IncompleteReadError at the end of the connection, LimitOverrunError for a head longer than allowed."""
    start, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return Head(start, {name.lower(): value.strip() for name, _, value in fields})


async def read_body(reader: StreamReader, head: Head) -> bytes:
    """The body that belongs to `head`; for an answer without length, all until the connection ends."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    if "content-length" in head.headers:
        return await reader.readexactly(int(head.headers["content-length"]))
    return await reader.read() if head.start.startswith("HTTP/") else b""


async def _read_chunks(reader: StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return bytes(body)
