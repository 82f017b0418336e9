"""Frames: how messages are told apart on a stream of bytes. A length of four bytes, a kind of one, and the message."""

import asyncio
from typing import Any, Final, NamedTuple

from xds_server.workers import frames_pb2

_KINDS: Final = (
    frames_pb2.Start,
    frames_pb2.Update,
    frames_pb2.Found,
    frames_pb2.Listening,
    frames_pb2.Want,
    frames_pb2.Drop,
    frames_pb2.Question,
    frames_pb2.Word,
    frames_pb2.Events,
    frames_pb2.Figures,
)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
_LENGTH: Final = 4


class TooLongError(ValueError):
    """A message of 2 GiB or more, which protobuf does not read."""


class Frame(NamedTuple):
    """A message on its way: what it is, and its bytes, which may be shared by several."""

    kind: type[Any]
    body: bytes

    def encode(self) -> bytes:
        """As it stands on the wire. Raises TooLongError."""
        if len(self.body) >= 2**31:
            raise TooLongError(
                f"{len(self.body)} bytes are too many for a worker: define less, or serve it with --workers 1"
            )
        return len(self.body).to_bytes(_LENGTH, "big") + bytes([_NUMBERS[self.kind]]) + self.body


def encode(message: Any) -> bytes:
    """A message as it stands on the wire."""
    return Frame(type(message), message.SerializeToString()).encode()


async def read(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises EOFError at the end, also amid one."""
    try:
        head = await reader.readexactly(_LENGTH + 1)
        body = await reader.readexactly(int.from_bytes(head[:_LENGTH], "big"))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError("the other process is gone") from error
    return _KINDS[head[_LENGTH]].FromString(body)
