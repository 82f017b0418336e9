"""What one server, and one stream of it, may cost; and the turnstile that spreads out a rush of new streams."""

import math
from dataclasses import dataclass, fields
from typing import Final

GRPC_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""What gRPC clients take in one message. They drop the stream above it, and no option of theirs lifts that (P1)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a `DiscoveryServer`. Times are in seconds. The defaults suit thousands of Envoys per process."""

    max_request_bytes: int = 64 * 1024 * 1024
    """Longest request. A returning delta client echoes every name and version that it holds, so gRPC's usual 4 MiB are
    too few (P2, P3)."""
    max_names: int = 1_000_000
    """Resource names that one stream may ask for, over all its types (P3)."""
    max_types: int = 64
    """Types that one stream may ask for (P3)."""
    new_streams_per_second: float = 1_000
    """Streams let in per second, after twice as many at once; others wait. 0: no limit (P10)."""
    stream_wait: float = 10
    """Longest wait of a new stream for its turn. One that would wait longer is refused with RESOURCE_EXHAUSTED."""
    max_connection_age: float = 1_800
    """Age at which a connection is told to come back, so that replicas share the load; 10 % more or less, at random.
    0: never (P15)."""
    max_connection_grace: float = 5
    """How long its streams may go on after that."""
    keepalive_time: float = 30
    """How long a connection may be silent before the client is asked whether it lives (HTTP/2 PING). A dead one would seem
    connected for hours (P13)."""
    keepalive_timeout: float = 15
    """How long it may take to answer that before the connection is closed."""
    drain: float = 5
    """Time over which the streams end when the server stops, so that clients do not all return at once (P16)."""
    rescue_after: float = 10
    """An Envoy that asked for other types on an aggregated stream but not for clusters is sent these unasked after this
    time: it may be stuck in warming (S71). 0: never."""

    def __post_init__(self) -> None:
        for name, value, whole in (
            (field.name, getattr(self, field.name), field.type is int) for field in fields(self)
        ):
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise TypeError(f"{name} is {value!r}: it must be a {'whole ' * whole}number")
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}: it must be finite")
            if value < 0:
                raise ValueError(f"{name} is {value}: it cannot be negative")
        for name in ("max_request_bytes", "max_names", "max_types", "keepalive_time", "keepalive_timeout"):
            if not getattr(self, name):
                raise ValueError(f"{name} is 0: nobody could be served")


_MOST_PENDING: Final = 100_000
"""Calls that wait until they are looked at."""


def grpc_options(limits: Limits, *, shares_port: bool = False) -> tuple[tuple[str, int], ...]:
    """The options of a gRPC server that keep to `limits`. `shares_port`: with other processes."""
    options = (
        ("grpc.so_reuseport", int(shares_port)),  # gRPC's default is 1: two servers would share a port in silence
        ("grpc.max_receive_message_length", min(limits.max_request_bytes, 2**31 - 1)),
        ("grpc.max_send_message_length", -1),
        # gRPC ends calls by chance (CANCELLED) that wait behind a thousand others, as where a fleet returns at once. It is for
        # the `Turnstile` to make them wait.
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
        # Find dead clients (P13), and let clients look for a dead server as often as they like (P12, P14).
        ("grpc.keepalive_time_ms", _milliseconds(limits.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _milliseconds(limits.keepalive_timeout)),
        # Measured: without this the one above closes nothing, and a frozen client stays (gRPC 1.85).
        ("grpc.http2.ping_timeout_ms", _milliseconds(limits.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    )
    if not limits.max_connection_age:
        return options
    return (
        *options,
        ("grpc.max_connection_age_ms", _milliseconds(limits.max_connection_age)),  # gRPC adds the jitter
        ("grpc.max_connection_age_grace_ms", _milliseconds(limits.max_connection_grace)),
    )


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), 2**31 - 1)  # gRPC takes 32 bits, which are 24 days


class Turnstile:
    """Gives each newcomer the time of its turn: `rate` per second, after `burst` at once. No I/O, time is given."""

    def __init__(self, rate: float, burst: float, longest_wait: float) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._ahead = burst * self._interval
        self._longest_wait = longest_wait
        self._next = 0.0

    def enter(self, now: float) -> float | None:
        """Seconds to wait, or None when it would be too long; then no turn is taken."""
        turn = max(self._next, now - self._ahead)
        wait = turn - now
        if wait > self._longest_wait:
            return None
        self._next = turn + self._interval
        return max(0.0, wait)
