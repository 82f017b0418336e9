"""What a worker is told of how to serve, as its first word."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from xds_server.xds import Limits


@dataclass(frozen=True)
class Options:
    """Of one worker. Named as on the command line, where they are options there."""

    number: int
    """Which worker it is, from 1."""
    address: str
    """Where it listens, with others: host:port."""
    identifier: str
    new_streams_per_second: float
    """Its part of what all of them let in."""
    max_connection_age: float
    """Seconds."""
    drain_time: float
    """Seconds."""
    cert: str
    """Path; empty for plain text, as of the next two."""
    key: str
    client_ca: str
    node_names: tuple[str, ...]
    insecure: bool
    http_address: str
    """Of the manager, where pollers come."""
    log_format: Literal["text", "json"]
    log_level: str

    @property
    def tls_client_ca(self) -> Path | None:
        """As the rule for nodes calls it."""
        return Path(self.client_ca) if self.client_ca else None

    @property
    def limits(self) -> Limits:
        """Of its discovery server."""
        return Limits(
            new_streams_per_second=self.new_streams_per_second,
            max_connection_age=self.max_connection_age,
            drain=self.drain_time,
        )

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> "Options":
        """The same again."""
        read = json.loads(text)
        return cls(**{**read, "node_names": tuple(read["node_names"])})
