"""One control plane and real Envoys of several zones: the product, as tests of localities need it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from rig import target

from xds_server.bootstrap import Bootstrap
from xds_server.config_sources import Protocol
from xds_server.testing import Backend, EnvoyProcess, Load, XdsServerProcess, send

ZONES: Final = {
    "a": {"region": "eu", "zone": "eu-1a"},
    "b": {"region": "eu", "zone": "eu-1b"},
    "c": {"region": "us", "zone": "us-1a"},
}
"""Localities by the first letter of the names of their backends."""
AT_ONCE: Final = {"common_lb_config": {"update_merge_window": "0s"}}
"""Envoy applies each change as it comes, not the second and later ones of a second together."""
PROBED: Final = {
    "active": {
        "path": "/healthz",
        "interval": "50ms",
        "timeout": "1s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
    }
}


def placed(backend: Backend, **fields: Any) -> dict[str, Any]:
    """The backend as a target, in the zone that its name begins with."""
    return target(backend, **{"locality": ZONES[backend.name[0]], **fields})


def by_zone(counts: Counter[str]) -> Counter[str]:
    """Requests by the first letter of the backend that answered; a status counts as itself."""
    found: Counter[str] = Counter()
    for name, number in counts.items():
        found[name if name.isdigit() else name[0]] += number
    return found


class ZonedFleet:
    """An Envoy in zone a, and one in zone b. Definitions are files, as users have them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.envoys: dict[str, EnvoyProcess] = {}
        self.server: XdsServerProcess

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # What zone-aware balancing compares with: as many Envoys in the one zone as in the other.
            envoys = [{"host": "127.0.0.1", "port": port, "locality": ZONES[zone]} for port, zone in enumerate("ab", 1)]
            self.upstream("envoys", envoys, protocol="tcp")
            self.server = stack.enter_context(XdsServerProcess(self._directory, args=["--log-level", "debug"]))
            for zone in "ab":
                self.envoys[zone] = stack.enter_context(self.envoy(zone))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def envoy(self, zone: str, node: str = "", protocol: Protocol = "delta") -> EnvoyProcess:
        """An Envoy in a zone, not yet started."""
        bootstrap = Bootstrap(
            node_id=node or f"in-{zone}",
            **ZONES[zone],
            local_cluster="envoys",
            xds_address=self.server.http_address if protocol == "rest" else self.server.xds_address,
            protocol=protocol,
            static_listener=0,
            static_listener_address="127.0.0.1",
        )
        return EnvoyProcess(bootstrap)

    def upstream(self, name: str, targets: list[dict[str, Any]], **fields: Any) -> None:
        """Define one upstream in a file of its own, written beside and renamed as editors do."""
        new = self._directory / f".{name}.new"
        definition = {"name": name, "targets": targets, "envoy": AT_ONCE, **fields}
        new.write_text(json.dumps({"upstreams": [definition]}), encoding="utf-8")
        new.replace(self._directory / f"{name}.yaml")

    def send(self, zone: str, name: str, requests: int) -> Counter[str]:
        """Send requests through the Envoy of a zone."""
        return send(self.envoys[zone].listener_port("static"), name, requests)

    def load(self, zone: str, name: str) -> Load:
        """Requests through the Envoy of a zone, for as long as a `with` block lasts."""
        return Load(self.envoys[zone].listener_port("static"), name)

    def wait_until(self, condition: Callable[[], object], what: str = "the requests as wanted") -> None:
        """Wait for up to 20 s."""
        self.envoys["a"].wait_until(condition, 20, what)

    def forwards(self, name: str, **wanted: dict[str, int]) -> None:
        """Wait until requests through the Envoys, by zone, are answered by these backends."""
        for zone, counts in wanted.items():
            arrive = partial(self._arrive, zone, name, counts)
            self.wait_until(arrive, f"requests to {name!r} by the Envoy in {zone} as {counts}")

    def forwards_to(self, name: str, **wanted: str) -> None:
        """Wait until all requests through the Envoys, by zone, are answered in these zones."""
        for zone, there in wanted.items():
            arrive = partial(self._arrive_in, zone, name, there)
            self.wait_until(arrive, f"requests to {name!r} by the Envoy in {zone} in {there}")

    def sent(self, type: str) -> list[dict[str, Any]]:
        """Events of responses of a type (``Cluster`` …) that the control plane sent."""
        return [event for event in self.server.events("xds.sent") if event["type"] == type]

    def _arrive(self, zone: str, name: str, counts: dict[str, int]) -> bool:
        return self.send(zone, name, sum(counts.values())) == counts

    def _arrive_in(self, zone: str, name: str, there: str) -> bool:
        return by_zone(self.send(zone, name, 20)) == {there: 20}
