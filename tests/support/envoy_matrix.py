"""The columns of the matrix (an Envoy, and how it takes its configuration), and one Envoy of a column at work.

`MatrixEnvoy` talks to the discovery server as a library; the resources below are in the dialect of its column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pytest
import yaml
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy_messages import HCM, ROUTER, packed, parse
from library_server import LibraryServer
from old_envoys import NEWEST, OLD, envoy_binary
from settled import active_cluster, pass_through_worker

from xds_server.bootstrap import Bootstrap, render
from xds_server.testing import Answer, Backend, EnvoyProcess, Load, request, send
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource

SOON = 5
"""Seconds in which Envoy must be up to date, also on a busy machine. What waits in vain for endpoints takes 15."""

Protocol = Literal["sotw", "delta", "per-type-sotw", "per-type-delta", "rest"]
STATS = {
    CLUSTER: r"cluster_manager\.cds",
    ENDPOINTS: r"cluster\.[^.]*",
    LISTENER: r"listener_manager\.lds",
    ROUTES: r"http\.public\.rds\.public",
}
"""What Envoy calls its subscriptions of a type in its statistics: patterns, as endpoints have one for each cluster."""


@dataclass(frozen=True)
class Column:
    """An Envoy, and how it takes its configuration."""

    envoy: str
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.envoy}-{self.protocol}"

    @property
    def aggregated(self) -> bool:
        """Whether one stream carries all types, and so orders them."""
        return self.protocol in ("sotw", "delta")

    @property
    def delta(self) -> bool:
        """Whether the incremental protocol is spoken."""
        return self.protocol.endswith("delta")

    @property
    def binary(self) -> Path:
        """Skips the test when this machine does not have it."""
        return envoy_binary(self.envoy)

    def bootstrap(self, address: str) -> dict[str, Any]:
        """What `xds-server bootstrap` prints for this protocol, edited."""
        options = Bootstrap(node_id="matrix", node_cluster="tests", xds_address=address, protocol=self.option)
        bootstrap: dict[str, Any] = yaml.safe_load(render(options))
        self.edit(bootstrap)
        return bootstrap

    @property
    def option(self) -> Any:
        """The protocol as an option of `Bootstrap`."""
        return "per-type" if self.protocol.startswith("per-type") else self.protocol

    def edit(self, bootstrap: dict[str, Any]) -> None:
        """Give a bootstrap what that has no options for: state of the world per type, and polls that are quick."""
        for source in bootstrap["dynamic_resources"].values():
            if self.protocol == "per-type-sotw":
                source["api_config_source"]["api_type"] = "GRPC"
            elif self.protocol == "rest":
                source["api_config_source"] |= {"refresh_delay": "0.1s", "request_timeout": "0.5s"}

    @property
    def source(self) -> dict[str, Any]:
        """The `ConfigSource` by which resources refer to others."""
        source: dict[str, Any] = self.bootstrap("127.0.0.1:1")["dynamic_resources"]["cds_config"]
        return source


AGGREGATED = (Column(NEWEST, "sotw"), Column(NEWEST, "delta"))
OLDER = tuple(Column(version, protocol) for version in OLD for protocol in ("sotw", "delta"))
PER_TYPE = (Column(NEWEST, "per-type-sotw"), Column(NEWEST, "per-type-delta"))
REST = Column(NEWEST, "rest")
CURRENT = (*AGGREGATED, *PER_TYPE, REST)
EVERY = (*CURRENT, *OLDER)


def columns(*chosen: Column) -> pytest.MarkDecorator:
    """Run a module's tests once for each of these, with the fixtures that take a `column`."""
    return pytest.mark.parametrize("column", chosen, ids=str, scope="module")


class MatrixEnvoy:
    """One Envoy of a column and a `LibraryServer`. It has its listener ``public`` and routes ``public`` from the server."""

    def __init__(self, column: Column, *, hold: bool = False, cut: bool = False) -> None:
        """`hold`: the server has no snapshot yet. `cut`: Envoy cannot reach it before `server.mend`."""
        self.column = column
        self.server = LibraryServer(hold=hold, rest=column.protocol == "rest")
        self.envoy: EnvoyProcess
        self._hosts: dict[str, str] = {}
        self._cut = cut
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            if self._cut:
                self.server.cut()
            self.envoy = stack.enter_context(EnvoyProcess(json.dumps(self.bootstrap()), binary=self.column.binary))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def bootstrap(self) -> dict[str, Any]:
        """What Envoy starts with."""
        return self.column.bootstrap(self.server.address)

    # Content, in the column's dialect

    def cluster(self, name: str, *, eds: str = "", **fields: Any) -> Resource:
        """A cluster that takes its endpoints from the server, under the name `eds` if given."""
        return Resource.of(self.cluster_message(name, eds=eds, **fields))

    def cluster_message(self, name: str, *, eds: str = "", **fields: Any) -> Any:
        source: dict[str, Any] = {"eds_config": self.column.source}
        if eds:
            source["service_name"] = eds
        # Envoy applies the second and later changes of a second late, to save work: tests want to see each one.
        common = {"update_merge_window": "0s"}
        text = {"name": name, "type": "EDS", "eds_cluster_config": source, "common_lb_config": common, **fields}
        return parse(text, cluster_pb2.Cluster())

    def listener(self, name: str = "public", *, routes: str = "", **fields: Any) -> Resource:
        """A listener on any free port; `routes`: if not those of its name, `fields`: of its connection manager."""
        return Resource.of(self.listener_message(name, routes=routes, **fields))

    def listener_message(self, name: str = "public", *, routes: str = "", **fields: Any) -> Any:
        rds = {"route_config_name": routes or name, "config_source": self.column.source}
        router = {"name": "envoy.filters.http.router", "typed_config": packed(ROUTER)}
        manager = packed(HCM, stat_prefix=name, rds=rds, http_filters=[router], **fields)
        network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        text = {"name": name, "address": address, "filter_chains": [{"filters": [network]}]}
        return parse(text, listener_pb2.Listener())

    def serve(self, *resources: Resource, routes: Mapping[str, str]) -> None:
        """Serve exactly these with the listener and routes, and wait until each host is answered by 2xx."""
        self._hosts = {}
        self.server.serve(self.listener(), self.routes(routes), *resources)
        for host in routes:
            self.wait_until(lambda host=host: 200 <= self.ask(host).status < 300, f"an answer for {host}")

    def routes(self, more: Mapping[str, str]) -> Resource:
        """The routes of `serve` with `more`, which stay."""
        self._hosts |= more
        return routes_to(self._hosts)

    # Traffic

    @property
    def port(self) -> int:
        return self.envoy.listener_port("public")

    def ask(self, host: str, path: str = "/", **more: Any) -> Answer:
        return request(self.port, host, path, **more)

    def send(self, host: str, n: int) -> Counter[str]:
        return send(self.port, host, n)

    def load(self, host: str, **more: Any) -> Load:
        return Load(self.port, host, **more)

    # What Envoy says

    def wait_until(self, condition: Any, what: str, timeout: float = 10) -> None:
        """Wait for a condition; what happened on the streams is part of the failure."""
        try:
            self.envoy.wait_until(condition, timeout, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nThe server's story:\n{self.server.story()}") from None

    def wait_for_endpoints(self, cluster: str, *backends: Backend) -> None:
        """Wait until Envoy's worker uses exactly these."""
        self.envoy.wait_for_endpoints(cluster, {backend.address: "HEALTHY" for backend in backends})
        pass_through_worker(self.port)

    def active_cluster(self, name: str) -> dict[str, Any]:
        return active_cluster(self.envoy, name)

    def rejected(self, type_url: str) -> float:
        """How many responses of a type Envoy has refused; of endpoints once for each cluster that it was about."""
        return sum(self.envoy.stats(rf"^{STATS[type_url]}\.update_rejected$").values())

    def attempts(self, type_url: str) -> float:
        """How often Envoy has asked for a type."""
        return sum(self.envoy.stats(rf"^{STATS[type_url]}\.update_attempt$").values())

    def version(self, type_url: str) -> str:
        """The version of a type that Envoy accepted last (it shows none for endpoints)."""
        lines = self.envoy.admin(f"/stats?type=TextReadouts&filter=^{STATS[type_url]}.version_text$").splitlines()
        return lines[0].partition(": ")[2].strip('"') if lines else ""

    def assert_nothing_was_waited_for(self, *clusters: str) -> None:
        """No cluster had to wait for endpoints that did not come, nor make do with those of before (S57, S59, D13)."""
        for name in clusters:
            stats = self.envoy.stats(
                rf"^cluster\.{name}\.(init_fetch_timeout|assignment_use_cached|assignment_timeout)"
            )
            assert not any(stats.values()), stats


def routes_to(hosts: Mapping[str, str], name: str = "public") -> Resource:
    """Routes that lead each host to a cluster."""
    return Resource.of(routes_message(hosts, name))


def routes_message(hosts: Mapping[str, str], name: str = "public") -> Any:
    virtual_hosts = [
        {"name": host, "domains": [host], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}
        for host, cluster in hosts.items()
    ]
    return parse({"name": name, "virtual_hosts": virtual_hosts}, route_pb2.RouteConfiguration())


def endpoints(name: str, *backends: Backend, **fields: Sequence[Any]) -> Resource:
    """An assignment of these backends; `fields`: of its endpoints, a list with a value for each."""
    return Resource.of(endpoints_message(name, *backends, **fields))


def endpoints_message(name: str, *backends: Backend, **fields: Sequence[Any]) -> Any:
    hosts: list[dict[str, Any]] = [
        {"endpoint": {"address": {"socket_address": {"address": backend.host, "port_value": backend.port}}}}
        for backend in backends
    ]
    for field, values in fields.items():
        for host, value in zip(hosts, values, strict=True):
            host[field] = value
    groups = [{"lb_endpoints": hosts}] if hosts else []
    return parse({"cluster_name": name, "endpoints": groups}, endpoint_pb2.ClusterLoadAssignment())


def unchecked(message: Any, type_url: str, name: str) -> Resource:
    """A resource that was not checked, so that Envoy has to refuse it."""
    return Resource.encode(type_url, name, message.SerializeToString(deterministic=True))
