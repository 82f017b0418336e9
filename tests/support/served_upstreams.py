"""Upstreams with fresh names on one Envoy that many tests share, and what comes of their traffic."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol, Self

from translated_envoy import TranslatedEnvoy

from xds_server.testing import Answer, send

# Envoy applies the second and later changes of a second late, to save work: tests want to see each one.
AT_ONCE = {"common_lb_config": {"update_merge_window": "0s"}}


class Listening(Protocol):
    """Any server of a test on 127.0.0.1."""

    port: int


def target(server: Listening, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, **more}


class ServedUpstreams:
    """Each `serve` or `put` has Envoy hold what it names and nothing else, so that tests leave nothing to each other.

    `always`: upstreams that it holds beside these all the time.
    """

    def __init__(self, prefix: str, *, always: Sequence[dict[str, Any]] = ()) -> None:
        self._fresh = (f"{prefix}-{number}" for number in count())
        self._always = always
        self._translated = TranslatedEnvoy()

    def __enter__(self) -> Self:
        self._translated.__enter__()
        self.envoy = self._translated.envoy
        return self

    def __exit__(self, *error: Any) -> None:
        self._translated.__exit__(*error)

    def serve(self, targets: Sequence[dict[str, Any]], **fields: Any) -> str:
        """One upstream; returns its name."""
        (name,) = self.serve_all([{"targets": targets, **fields}])
        return name

    def serve_all(self, upstreams: Sequence[dict[str, Any]], **addresses: Sequence[str]) -> list[str]:
        """Several, to be waited for together; returns their names. `addresses`: of host names, as if resolved."""
        names = [next(self._fresh) for _ in upstreams]
        self.put(*({"name": name, **fields} for name, fields in zip(names, upstreams, strict=True)), **addresses)
        return names

    def put(self, *upstreams: dict[str, Any], **addresses: Sequence[str]) -> None:
        """Upstreams by name, again with other fields for example."""
        definitions = {"upstreams": [{"envoy": AT_ONCE, **fields} for fields in (*self._always, *upstreams)]}
        self._translated.serve_with_gateways(definitions, **addresses)
        assert not [event for event in self._translated.events if event.kind == "rejected"]

    def port(self, listener: str = "public") -> int:
        return self._translated.port(listener)

    def ask(self, name: str, path: str = "/", **more: Any) -> Answer:
        return self._translated.ask(name, path, **more)

    def send(self, name: str, n: int, path: str = "/", **more: Any) -> Counter[str]:
        return send(self.port(), name, n, path, **more)

    def health(self, name: str) -> dict[str, str]:
        return self.envoy.endpoints(name)

    def ejected(self, name: str) -> int:
        return list(self.health(name).values()).count("EJECTED")

    def stat(self, name: str, stat: str) -> float:
        return self.envoy.stat(f"cluster.{name}.{stat}")
