"""The upstreams that are measured with, and how they are written and changed: over HTTP, as anybody would."""

import http.client
import json
import socket
import time
from typing import Any, Final, NamedTuple

from xds_server.testing import XdsServerProcess

AT_ONCE: Final = 10_000
"""Upstreams that are written with one request."""


def name(number: int) -> str:
    """Of an upstream."""
    return f"upstream-{number:06}"


def host(number: int, target: int) -> str:
    """A loopback address where nothing listens: of an upstream's target, each its own."""
    return f"127.{1 + number // 1000 % 250}.{number // 4 % 250}.{1 + (number % 4) * 60 + target % 60}"


def upstream(number: int, targets: int, **more: Any) -> dict[str, Any]:
    """A definition. A target's port tells it from others where its address does not."""
    places = [{"host": host(number, target), "port": 9 + target // 60} for target in range(targets)]
    return {"name": name(number), "algorithm": "weighted-round-robin", "targets": places, **more}


class Written(NamedTuple):
    """A write that was answered. Times are of the monotonic clock."""

    asked_at: float
    answered_at: float
    body: Any


class Api:
    """The HTTP API over one connection that stays open."""

    def __init__(self, server: XdsServerProcess) -> None:
        address, _, port = server.http_address.rpartition(":")
        self._http = http.client.HTTPConnection(address, int(port), timeout=600)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def apply(self, upstreams: list[dict[str, Any]]) -> None:
        """Define all of these, as many at once as a request may hold with ten targets each."""
        for start in range(0, len(upstreams), AT_ONCE):
            self._send("POST", "/v1/apply", {"upstreams": upstreams[start : start + AT_ONCE]})

    def weigh(self, upstream: str, target: str, weight: int) -> Written:
        """Change the weight of one target."""
        return self._send("PATCH", f"/v1/upstreams/{upstream}/targets/{target}", {"weight": weight})

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _send(self, method: str, path: str, data: Any) -> Written:
        body = json.dumps(data).encode()
        asked = time.monotonic()
        self._http.request(method, path, body, {"content-type": "application/json"})
        answer = self._http.getresponse()
        text = answer.read()
        answered = time.monotonic()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path} is answered {answer.status}: {text[:300]!r}")
        return Written(asked, answered, json.loads(text))
