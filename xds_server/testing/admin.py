"""What a running Envoy says about itself on its admin interface, and waiting for what it should say."""

import http.client
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from xds_server.testing.load import send

LOG_LINES: Final = 30
"""How much of Envoy's log a failure shows."""


class EnvoyAdmin(ABC):
    """The admin interface of one Envoy, wherever it runs."""

    @property
    @abstractmethod
    def admin_url(self) -> str:
        """`http://ADDRESS:PORT`."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether Envoy has neither exited nor been stopped."""

    @property
    @abstractmethod
    def log(self) -> str:
        """All that Envoy has logged, also after it was stopped."""

    @property
    def static_port(self) -> int:
        """The port of 127.0.0.1 that leads to the static listener. Raises KeyError where the bootstrap has none."""
        return self.listener_port("static")

    def send(self, host: str, n: int, path: str = "/", *, connections: int = 1) -> Counter[str]:
        """Send `n` requests through the static listener, and count who answered: see `load.send`."""
        return send(self.static_port, host, n, path, connections=connections)

    def admin(self, path: str, *, method: str = "GET") -> str:
        """The answer to one admin request. Raises OSError when none comes within 10 s or its status is not 200."""
        connection = http.client.HTTPConnection(urlsplit(self.admin_url).netloc, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin interface broke off: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"Envoy's admin interface answers {answer.status} to {path}: {text.strip()}")
        return text

    def config_dump(self, resource: str | None = None) -> dict[str, Any]:
        """All configuration with endpoints, or only one repeated field of it (`dynamic_active_clusters` …)."""
        path = "/config_dump?include_eds" + (f"&resource={quote(resource)}" if resource else "")
        dump: dict[str, Any] = json.loads(self.admin(path))
        return dump

    def clusters(self) -> dict[str, dict[str, Any]]:
        """The active clusters by name, each as `admin.v3.ClusterStatus` in proto JSON."""
        statuses = json.loads(self.admin("/clusters?format=json")).get("cluster_statuses", [])
        return {status["name"]: status for status in statuses}

    def endpoints(self, cluster: str) -> dict[str, str]:
        """Health by `ADDRESS:PORT` of an active cluster's endpoints: HEALTHY, or the worst reason against it.

        The reasons are EDS's own (UNHEALTHY, DRAINING, DEGRADED, TIMEOUT), FAILED_ACTIVE_HC and EJECTED. Empty for a
        cluster that is not active.
        """
        status = self.clusters().get(cluster, {})
        return {_address(host["address"]): _health(host["health_status"]) for host in status.get("host_statuses", [])}

    def stats(self, pattern: str = "") -> dict[str, float]:
        """Counters and gauges whose names match the regular expression (anywhere in the name). Default: all."""
        stats = json.loads(self.admin(f"/stats?format=json&filter={quote(pattern, safe='')}"))["stats"]
        return {stat["name"]: stat["value"] for stat in stats if isinstance(stat.get("value"), int | float)}

    def stat(self, name: str) -> float:
        """One counter or gauge; 0 for one that Envoy does not have (it makes many only when they first count)."""
        return self.stats("^" + "".join(c if c.isalnum() or c == "_" else f"[{c}]" for c in name) + "$").get(name, 0)

    def listener_port(self, name: str) -> int:
        """The TCP port that a listener is bound to, which may have asked for port 0. Raises KeyError if there is none."""
        for listener in json.loads(self.admin("/listeners?format=json")).get("listener_statuses", []):
            if listener["name"] == name:
                return int(listener["local_address"]["socket_address"]["port_value"])
        raise KeyError(f"Envoy has no listener {name!r}")

    def wait_until(self, condition: Callable[[], object], timeout: float = 10, what: str = "the condition") -> None:
        """Ask every 20 ms until `condition` is true; an OSError or KeyError in it counts as not yet.

        Raises TimeoutError after `timeout` seconds, and RuntimeError at once when Envoy ended; both show its log.
        """
        deadline = time.monotonic() + timeout
        last: Exception | None = None
        while True:
            try:
                if condition():
                    return
                last = None
            except (OSError, KeyError) as error:
                last = error
            if not self.is_running:
                raise RuntimeError(f"Envoy ended while waiting for {what}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                reason = f" (last error: {last})" if last else ""
                raise TimeoutError(f"waited {timeout:g} s in vain for {what}{reason}\n{self.log_tail()}")
            time.sleep(0.02)

    def wait_for_ready(self, timeout: float = 20) -> None:
        """Wait until Envoy serves: it listens only once it has its first configuration, or was denied it for 15 s."""
        self.wait_until(lambda: self.admin("/ready"), timeout, "Envoy to be ready")

    def wait_for_cluster(self, name: str, timeout: float = 10) -> None:
        """Wait until a cluster is active, so warm."""
        self.wait_until(lambda: name in self.clusters(), timeout, f"cluster {name!r}")

    def wait_for_endpoints(self, cluster: str, expected: Mapping[str, str], timeout: float = 10) -> None:
        """Wait until a cluster has exactly these endpoints (see `endpoints`), each with that health."""
        seen: dict[str, str] = {}

        def reached() -> bool:
            nonlocal seen
            seen = self.endpoints(cluster)
            return seen == dict(expected)

        try:
            self.wait_until(reached, timeout, f"endpoints {dict(expected)} of cluster {cluster!r}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nendpoints at the end: {seen}") from None

    def log_tail(self) -> str:
        """The last lines of Envoy's log, with a heading."""
        lines = self.log.splitlines()[-LOG_LINES:]
        return "\n".join(["Envoy's log ends with:" if lines else "Envoy has logged nothing.", *lines])


def _address(address: Mapping[str, Any]) -> str:
    socket = address["socket_address"]
    host = socket["address"]
    return f"[{host}]:{socket['port_value']}" if ":" in host else f"{host}:{socket['port_value']}"


def _health(status: Mapping[str, Any]) -> str:
    own: str = status.get("eds_health_status", "HEALTHY")
    if own not in ("HEALTHY", "UNKNOWN"):
        return own
    if status.get("failed_active_health_check"):
        return "FAILED_ACTIVE_HC"
    return "EJECTED" if status.get("failed_outlier_check") else "HEALTHY"
